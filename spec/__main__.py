"""``python -m spec`` is the command line."""

from spec.cli import main

main()
