"""The line that is printed for a call is, as the command line itself reads it, that call."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from tfssl.base.config import Settings
from tfssl.cli.main import cli
from tfssl.cli.parameters import off_flags
from tfssl.export.config import CheckSettings, ServeSettings
from tfssl.starting.budget import Counts, Finetuning, Speed
from tfssl.starting.choosing import Choice
from tfssl.starting.commands import command_line
from tfssl.starting.config import QuickstartSettings
from tfssl.starting.parts import parts_of

TUNED = Finetuning(steps=420, learning_rates=(0.0003, 1e-05), refit=False, beside=("scratch", "random"), fraction=0.01)
CHOICE: dict[str, Any] = {
    "pretrain_on": "my 'best' photos (80 %, split seed 0)",
    "evaluate_on": "my 'best' photos",
    "test_on": "",
    "tasks": "rotation, contrastive",
    "trunk": "resnet10(width=8)",
    "size": 96,
    "batch_size": 64,
    "mixed_precision": None,
    "epochs": 12,
    "steps_per_epoch": 80,
    "finetuning": TUNED,
    "counts": Counts(pictures=100),
    "speed": Speed(1.0, 1.0, 1.0),
    "seconds": {},
}
PHOTOS = "my 'best' photos"
CASES = {
    "labels": ({"out": "a folder"}, {}),
    "as they are": ({}, {"finetuning": Finetuning(**vars(TUNED) | {"refit": True, "beside": (), "fraction": None})}),
    "no labels": ({}, {"evaluate_on": "", "finetuning": None}),
    "a table": ({"labels": "la bels.csv", "max_broken": 0.25, "verbose": 0}, {"evaluate_on": ""}),
    "a fifth, on a GPU": (
        {"verbose": 2},
        {
            "evaluate_on": f"{PHOTOS} (80 %, split seed 0) (20 %, split seed 0)",
            "test_on": f"{PHOTOS} (20 %, split seed 0) (20 %, split seed 0)",
            "mixed_precision": "bfloat16",
            "batch_size": 256,
        },
    ),
    "a name like an option": ({"photos": "--labels", "out": "-o"}, {"pretrain_on": "--labels"}),
}


def values(settings: Settings) -> dict[str, Any]:
    """The fields; of those that take anything "" is the same as ()."""
    return {name: () if value == "" else value for name, value in settings}


def parsed(line: str) -> tuple[str, Settings]:
    """What the command line makes of a line: the name of the command and its settings."""
    program, name, *words = shlex.split(line)
    assert program == "tfssl"
    command = cli.commands[name]
    given = command.make_context(name, words).params
    assert given.pop("as_json") is False
    off = {field: value for field, value, flag in off_flags(command.settings) if given.pop(flag)}
    return name, command.settings(**given | off)


@pytest.mark.parametrize("case", CASES)
def test_lines_of_parts_are_their_calls(case):
    asked, chosen = CASES[case]
    settings = QuickstartSettings(**{"photos": PHOTOS, "out": "quick"} | asked)
    parts = parts_of(settings, Choice(**CHOICE | chosen))
    assert [part.command for part in parts][:2] == ["show", "pretrain"]
    for part in parts:
        command, settings = parsed(part.line)
        assert (command, type(settings), values(settings)) == (part.command, type(part.settings), values(part.settings))


def test_lines_are_short():
    parts = parts_of(QuickstartSettings(photos="photos/", out="quick"), Choice(**CHOICE | {"pretrain_on": "photos/"}))
    assert parts[0].line == ("tfssl show photos/ --tasks 'rotation, contrastive' --to quick/puzzles.png --size 96")
    assert parts[-1].line == "tfssl check quick/models/classifier"


def test_flags_that_stand_for_a_value():
    serve = ServeSettings(folder=Path("models"), grpc_port=None, poll=0.5)
    assert command_line("serve", serve) == "tfssl serve models --no-grpc --poll 0.5"
    assert parsed(command_line("serve", serve)) == ("serve", serve)
    check = CheckSettings(folder=Path("-m"), server="http://host:8501")
    assert command_line("check", check) == "tfssl check --server http://host:8501 -- -m"
    assert parsed(command_line("check", check)) == ("check", check)
