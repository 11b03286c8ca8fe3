"""`python -m astraios.cli`."""

from astraios.cli import main

main()
