"""`python -m tfssl` is `tfssl`."""

from tfssl.cli import main

main()
