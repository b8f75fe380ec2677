"""`python -m chatterm`."""

from chatterm.cli import main

main()
