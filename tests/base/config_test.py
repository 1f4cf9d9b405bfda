"""Settings classes: one line for each kind of mistake, in Python and on the command line; options that say the same."""

from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
from click.testing import CliRunner
from pydantic import Field

from tfssl.base.config import (
    Commas,
    Count,
    Positive,
    Settings,
    Share,
    on_command_line,
    option,
    python_only,
    shape,
    subject,
)
from tfssl.base.errors import UserError
from tfssl.cli import options


class Bake(Settings):
    """All kinds of fields."""

    dough: Any = subject("DOUGH")
    to: Path = option("Where it goes.")
    loaves: Count = option("How many.", 2)
    hours: Positive | None = option("How long.", None)
    salt: Share = option("Part of salt.", 0.02)
    heat: Annotated[int, Field(ge=100, lt=300)] = option(
        "Of the oven.", 220, unit="degrees", off=("--cold", 100, "Off.")
    )
    crust: Literal["thin", "thick"] = option("Of the bread.", "thin")
    steam: bool = option("At the start.", True)
    seeds: bool = option("On top.", False)
    sizes: Annotated[tuple[int, ...], Commas] = option("Of loaves.", (1, 2))
    oven: Any = python_only(None)


@pytest.mark.parametrize(
    ("wrong", "line", "on_the_command_line"),
    [
        ({"loaves": 0}, "loaves=0 is given, expected at least 1", "--loaves 0 is given, expected at least 1"),
        ({"loaves": "a"}, "loaves='a' is given, expected a whole number, at least 1", "--loaves a is given"),
        ({"loaves": 1.5}, "loaves=1.5 is given, expected a whole number, at least 1", "--loaves 1.5 is given"),
        ({"hours": 0.0}, "hours=0.0 is given, expected more than 0", "--hours 0.0 is given"),
        ({"hours": float("nan")}, "hours=nan is given, expected more than 0", "--hours nan is given"),
        ({"hours": float("inf")}, "hours=inf is given, expected more than 0", "--hours inf is given"),
        ({"salt": 1.5}, "salt=1.5 is given, expected from 0 to 1", "--salt 1.5 is given"),
        ({"heat": 300}, "heat=300 is given, expected from 100 to 299 degrees", "--heat 300 is given"),
        ({"crust": "none"}, "crust='none' is given, expected one of: thin, thick", "--crust none is given"),
        ({"steam": "often"}, "steam='often' is given, expected true or false", "--steam often is given"),
        ({"sizes": "1,a"}, "sizes='1,a' is given, expected a whole number", "--sizes 1,a is given"),
        ({"to": 3}, "to=3 is given, expected text", "--to 3 is given"),
        ({"to": range(10**9)}, "to=range(0, 1000000000) is given, expected text", "--to range"),
        ({"to": [0] * 999}, "to=list(...) is given, expected text", "--to [0, 0"),
        ({"oil": 3}, "there is no setting 'oil'; these are: dough, to, loaves", "there is no setting 'oil'"),
    ],
)
def test_a_mistake_is_one_line(wrong, line, on_the_command_line):
    with pytest.raises(UserError) as told:
        Bake(**{"dough": 1, "to": "a"} | wrong)
    assert str(told.value).startswith(line)
    assert "\n" not in str(told.value)
    with on_command_line(), pytest.raises(UserError) as told:
        Bake(**{"dough": 1, "to": "a"} | wrong)
    assert str(told.value).startswith(on_the_command_line)


def test_settings_are_frozen_and_typed():
    bake = Bake(dough=object, to="a/b", hours=3)
    assert (bake.to, bake.hours, bake.loaves) == (Path("a/b"), 3.0, 2)
    assert Bake(dough=1, to="a", sizes="3, 4").sizes == Bake(dough=1, to="a", sizes=[3, 4]).sizes == (3, 4)
    with pytest.raises(ValueError, match="frozen"):
        bake.loaves = 3
    assert Bake.among({"dough": 1, "to": "a", "colour": 3}).dough == 1


def test_shapes():
    found = {name: shape(field) for name, field in Bake.model_fields.items()}
    assert found["loaves"] == (int, {"ge": 1}, (), False, ())
    assert found["hours"] == (float, {"gt": 0}, (), False, ())
    assert found["heat"] == (int, {"ge": 100, "lt": 300}, (), False, ())
    assert found["crust"] == (str, {}, ("thin", "thick"), False, ())
    assert found["sizes"] == (int, {}, (), True, ())
    assert found["to"].kind is str


@pytest.fixture
def baker():
    """A command of these settings, and what it was called with."""
    group, called = click.Group(), []

    @options.command(Bake, group=group)
    def bake(**arguments):
        """Bake."""
        called.append(arguments)
        return "done"

    return group, called


def test_options_are_the_fields(baker):
    group, called = baker
    page = CliRunner().invoke(group, ["bake", "--help"]).output
    words = " ".join(page.split())
    assert "bake [OPTIONS] DOUGH" in words
    assert "--to TEXT Where it goes. [required]" in words
    assert "How many. [default: 2; x>=1]" in words
    assert "--crust [thin|thick] Of the bread. [default: thin]" in words
    assert "--steam / --no-steam" in words
    assert "--cold Off." in words
    assert "--oven" not in words
    assert CliRunner().invoke(group, ["bake", "rye", "--to", "a"]).output == "done\n"
    plain = {"dough": "rye", "to": "a", "loaves": 2, "hours": None, "salt": 0.02, "heat": 220, "crust": "thin"}
    assert called.pop() == plain | {"steam": True, "seeds": False, "sizes": "1,2"}
    given = ["--hours", "2", "--cold", "--no-steam", "--seeds"]
    CliRunner().invoke(group, ["bake", "rye", "--to", "a", *given])
    assert called.pop() == plain | {"steam": False, "seeds": True, "sizes": "1,2", "hours": 2.0, "heat": 100}


def test_a_wrong_option_does_not_reach_the_function(baker):
    group, called = baker
    done = CliRunner().invoke(group, ["bake", "rye", "--to", "a", "--salt", "2"])
    assert str(done.exception) == "--salt 2.0 is given, expected from 0 to 1"
    assert not called
