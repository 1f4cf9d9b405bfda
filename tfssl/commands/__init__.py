"""The commands: each is a thin call of the Python function of the same name, with the same arguments."""

from tfssl.commands.base import cli

# isort: off
# The order of --help.
from tfssl.commands import learning
from tfssl.commands import measuring
from tfssl.commands import handing_on
from tfssl.commands import solving
from tfssl.commands import studying
# isort: on

__all__ = ["cli", "handing_on", "learning", "measuring", "solving", "studying"]
