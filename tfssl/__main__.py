"""`python -m tfssl` is `tfssl`."""

from tfssl.cli.main import main

main()
