"""The command `tfssl` itself, and how its commands are made from settings classes."""

import contextlib
import functools
import json
import pkgutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

import tfssl

if TYPE_CHECKING:
    from tfssl.base.config import Settings

JSON = click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object on standard output, nothing else.")


class Group(click.Group):
    """Commands in the order in which one uses them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(tfssl.__version__, prog_name="tfssl")
def cli() -> None:
    """Learn an encoder from pictures without labels, measure it, and hand it on.

    DATA is a folder of pictures (sub-folder = label, for evaluation only), clips that ingest prepared, toy:images,
    toy:clips, or tfds:NAME; of words text:FILES or toy:text.
    """


class Command(click.Command):
    """A command whose parameters are the fields of a settings class.

    The class is imported when the command is called or explained: pydantic and all classes together would take more
    than half of the time in which `tfssl --help` answers.

    Attributes:
      where: the settings class, or its place, as "tfssl.training.config:PretrainSettings".
    """

    def __init__(self, name: str, where: "str | type[Settings]", function: Callable[..., Any]):
        self.where = where
        self._function = function
        super().__init__(name, callback=self._call, help=function.__doc__)

    @functools.cached_property
    def settings(self) -> "type[Settings]":
        """The settings class."""
        return pkgutil.resolve_name(self.where) if isinstance(self.where, str) else self.where

    @functools.cached_property
    def _parameters(self) -> list[click.Parameter]:
        from tfssl.cli.parameters import parameters_of

        return [*parameters_of(self.settings), JSON]

    @property
    def params(self) -> list[click.Parameter]:
        """What click parses, made of the fields of `settings`."""
        return self._parameters

    @params.setter
    def params(self, value: list[click.Parameter]) -> None:
        """Leave out what click sets, which is nothing."""

    def _call(self, as_json: bool, **values: Any) -> None:
        from tfssl.base.config import on_command_line
        from tfssl.cli.parameters import off_flags

        off = {field: value for field, value, flag in off_flags(self.settings) if values.pop(flag)}
        arguments = values | off
        with on_command_line():
            self.settings(**arguments)
            run(as_json, lambda: self._function(**arguments))


def command(where: str, name: str | None = None, group: click.Group = cli) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function that takes the fields of a settings class and returns a result.

    The values are checked before the function is called, so that a wrong one is refused before TensorFlow is imported.

    Args:
      where: the settings class, or its place, as "tfssl.training.config:PretrainSettings".
      name: the name of the command; that of the function where None.
      group: what it is a command of.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        made = Command(name or function.__name__, where, function)
        group.add_command(made)
        return made

    return decorate


def run(as_json: bool, function: Callable[[], Any]) -> None:
    """Call the function, and print the result for people or as JSON; with --json all else goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        result = function()
    print(json.dumps(result.as_json()) if as_json else result)
    if getattr(result, "ok", True) is False:
        raise SystemExit(1)
