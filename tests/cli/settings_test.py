"""Settings are said once: every argument of a Python function is a field of its command's settings class and an option
of the command, with the same default, and the other way round.
"""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

import tfssl
from tfssl.base.config import extra_of
from tfssl.cli.main import cli
from tfssl.cli.options import Command
from tfssl.studies.config import PassedOn

PYTHON_ONLY = {("pretrain", "strategy")}
"""Arguments that cannot be written as text."""


def commands(group: click.Group = cli, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """(name of the Python function, command) of all commands."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name}_")
        else:
            yield f"{before}{name}".replace("-", "_"), command


COMMANDS = dict(commands())


def arguments(name: str) -> dict[str, inspect.Parameter]:
    """Of the Python function; `more` of a study stands for what it passes on."""
    packages = {"export": "tfssl.export.saved_model:export", "report": "tfssl.report.report:report"}
    function = pkgutil.resolve_name(packages[name]) if name in packages else getattr(tfssl, name)
    found = dict(inspect.signature(function).parameters)
    if found.pop("more", None):
        keyword = inspect.Parameter.KEYWORD_ONLY
        found |= {
            each: inspect.Parameter(each, keyword, default=field.default)
            for each, field in PassedOn.model_fields.items()
        }
    return found


@pytest.fixture(scope="module", autouse=True)
def modules():
    importlib.import_module("tfssl.export.saved_model")


@pytest.mark.parametrize("name", COMMANDS)
def test_function_settings_and_command_say_the_same(name):
    command = COMMANDS[name]
    assert isinstance(command, Command)
    fields, parameters = command.settings.model_fields, arguments(name)
    assert set(fields) == set(parameters)
    for argument, parameter in parameters.items():
        default = inspect.Parameter.empty if fields[argument].is_required() else fields[argument].default
        assert default == parameter.default or default == type(default)(parameter.default), argument
    options = {parameter.name: parameter for parameter in command.params}
    flags = {
        extra_of(field)["off"][0].lstrip("-").replace("-", "_")
        for field in fields.values()
        if extra_of(field).get("off")
    }
    hidden = {argument for function, argument in PYTHON_ONLY if function == name}
    assert set(options) - flags - {"as_json"} == set(fields) - hidden
    for argument in set(fields) - hidden:
        assert options[argument].required == fields[argument].is_required()
        if not isinstance(options[argument], click.Argument):
            assert options[argument].help


def test_what_is_python_only_is_there():
    for name, argument in PYTHON_ONLY:
        assert extra_of(COMMANDS[name].settings.model_fields[argument])["python_only"]


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_of_the_command_are_valid(name):
    """What click hands on where nothing is given is what Python has."""
    command = COMMANDS[name]
    required = {
        "pictures": ("a.png",),
        "query": ("a.png",),
        "to": {"embed": "a.npz", "predict": "a.csv", "inside": "a.html"}.get(name, "a.png"),
    }
    values = {}
    for parameter in command.params:
        if parameter.name in command.settings.model_fields:
            given = required.get(parameter.name, "x")
            values[parameter.name] = given if parameter.required else parameter.default
    settings = command.settings(**values)
    for field, info in command.settings.model_fields.items():
        if not info.is_required() and field in values:
            assert getattr(settings, field) == info.default or not info.default


def test_figures_that_code_has_too():
    """Modules of settings do not import the code that has them, which is heavy."""
    from tfssl.pipelines.decoding import cache

    assert COMMANDS["bench_pipeline"].settings.model_fields["cache_memory"].default == cache.MEMORY


def test_settings_classes_import_nothing_heavy():
    modules = sorted({command.settings.__module__ for command in COMMANDS.values()} | {"tfssl.runs.config"})
    program = f"import importlib, sys; [importlib.import_module(name) for name in {modules}]"
    program += "; print(*({'tensorflow', 'keras', 'numpy', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
