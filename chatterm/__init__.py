"""chatterm: a terminal chat that runs the language model itself and shows its inside."""

__version__ = "0.1.0"
