"""The command `tfssl` itself, and what its commands have in common."""

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

import click

import tfssl

COUNT = click.IntRange(min=1)
PORT = click.IntRange(0, 65535)
MORE = click.FloatRange(0, min_open=True)
SEED = click.IntRange(0, 2**31 - 1)  # goes into int32 tensors
SHARE = click.FloatRange(0, 1)
SERVER = click.option("--server", metavar="ADDRESS", help="host:8500 for gRPC, http://host:8501 for REST.")
MODEL_NAME = click.option("--model-name", metavar="NAME", help="Of the model on the server; that of DIR.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output, nothing else.")


class Group(click.Group):
    """Commands in the order in which one uses them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(tfssl.__version__, prog_name="tfssl")
def cli() -> None:
    """Learn an encoder from pictures without labels, measure it, and hand it on.

    DATA is a folder of pictures (sub-folder = label, for evaluation only), clips that ingest prepared, toy:images,
    toy:clips, or tfds:NAME.
    """


def run(as_json: bool, function: Callable[[], Any]) -> None:
    """Calls, and prints the result for people or as JSON; with --json all else goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        result = function()
    print(json.dumps(result.as_json()) if as_json else result)
    if getattr(result, "ok", True) is False:
        raise SystemExit(1)
