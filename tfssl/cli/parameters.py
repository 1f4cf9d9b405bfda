"""Arguments and options of the command line, made of the fields of a settings class."""

from collections.abc import Mapping
from typing import Any

import click
from pydantic.fields import FieldInfo

from tfssl.base import config
from tfssl.base.config import extra_of


class _Int(click.IntRange):
    """A whole number. Its range is shown by --help, and checked by the settings class."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return click.INT.convert(value, param, ctx)


class _Float(click.FloatRange):
    """A number, as `_Int`, or a word in its place."""

    words: tuple[str, ...] = ()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.words:
            return value
        try:
            return click.FLOAT.convert(value, param, ctx)
        except click.BadParameter:
            if not self.words:
                raise
            self.fail(f"{value!r} is given, expected a number or {' or '.join(self.words)}.", param, ctx)


def off_flags(settings: type[config.Settings]) -> list[tuple[str, Any, str]]:
    """Return (field, value, name of the parameter) of each flag that stands for a value of a field."""
    offs = {name: extra_of(field).get("off") for name, field in settings.model_fields.items()}
    return [(name, off[1], off[0].lstrip("-").replace("-", "_")) for name, off in offs.items() if off]


def parameters_of(settings: type[config.Settings]) -> list[click.Parameter]:
    """List parameters in the order of --help: arguments, options that must be given, the rest as the fields stand."""
    fields = {name: field for name, field in settings.model_fields.items() if not extra_of(field).get("python_only")}
    arguments = [_argument(name, field) for name, field in fields.items() if "subject" in extra_of(field)]
    options: list[click.Parameter] = []
    given = {name: field for name, field in fields.items() if "subject" not in extra_of(field)}
    for name in sorted(given, key=lambda name: not given[name].is_required()):
        options.append(_option(name, given[name]))
        if off := extra_of(given[name]).get("off"):
            options.append(click.Option([off[0]], is_flag=True, help=off[2]))
    return [*arguments, *options]


def _argument(name: str, field: FieldInfo) -> click.Argument:
    several = config.shape(field).repeated
    more: dict[str, Any] = {"required": True} if field.is_required() else {"required": False, "default": field.default}
    metavar = extra_of(field)["subject"] if field.is_required() else f"[{extra_of(field)['subject']}]"
    return click.Argument([name], metavar=metavar, nargs=-1 if several else 1, **more)


def _option(name: str, field: FieldInfo) -> click.Option:
    kind, bounds, choices, repeated, words = config.shape(field)
    names = [extra_of(field).get("flag") or f"--{name.replace('_', '-')}", name]
    more: dict[str, Any] = {"help": field.description}
    if field.is_required():
        more |= {"required": True, "multiple": repeated}
    elif extra_of(field).get("each"):
        more |= {"multiple": True, "default": field.default}
    else:
        default = field.default
        more["default"] = ",".join(map(str, default)) if isinstance(default, tuple) else default
        more["show_default"] = default not in (None, "", ())
    if kind is bool:
        return click.Option(
            [f"{names[0]}/--no-{names[0][2:]}" if field.default else names[0], name], is_flag=True, **more
        )
    if choices:
        more["metavar"] = f"[{'|'.join(map(str, choices))}]"
    elif metavar := extra_of(field).get("metavar"):
        more["metavar"] = metavar
    made = str if repeated else _type(kind, bounds)
    if words and isinstance(made, _Float):
        made.words = words
        more["metavar"] = f"[FLOAT|{'|'.join(words)}]"
    return click.Option(names, type=made, **more)


def _type(kind: type, bounds: Mapping[str, Any]) -> click.ParamType | type:
    if kind not in (int, float):
        return str
    if not bounds:
        return kind
    low, high = (bounds.get(one, bounds.get(other)) for one, other in (("ge", "gt"), ("le", "lt")))
    made = _Int if kind is int else _Float
    return made(low, high, min_open="gt" in bounds, max_open="lt" in bounds)
