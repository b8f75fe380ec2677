"""Which models are on this machine and on the servers that are known, and how to name and remove one.

It reads names, sizes and headers, never weights; what a model can do only the engine knows. Nothing here
imports huggingface_hub before the Hub is asked.
"""

from chatterm.library.library import Library
from chatterm.library.model import Aside, LocalModel

__all__ = ["Aside", "Library", "LocalModel"]
