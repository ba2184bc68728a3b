"""`python -m noria` is the command line."""

from noria.cli import main

main()
