"""Settings, said once: a class a command, whose fields have bounds, choices, defaults and help.

From it come the options of the command line (`tfssl.cli.options`), the checks, and what is kept in files. Nothing heavy
is imported here or in modules of settings classes: `tfssl --help` reads them all.
"""

import contextlib
import types
import typing
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic.fields import FieldInfo

from tfssl.base.errors import UserError

Count = Annotated[int, pydantic.Field(ge=1)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Positive = Annotated[float, pydantic.Field(gt=0)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**31)]
"""It goes into int32 tensors."""
Port = Annotated[int, pydantic.Field(ge=0, lt=2**16)]


def split(given: Any) -> Any:
    """Split 'a, b' into ['a', 'b']; leave a list or a tuple as it is."""
    return [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given


Commas = pydantic.BeforeValidator(split)
"""For fields of several values, which may also be one text with commas."""


def ending(*endings: str) -> pydantic.AfterValidator:
    """Check a field that is a file: its name must end in one of these."""

    def check(path: Path) -> Path:
        if path.suffix.lower() not in endings:
            raise ValueError(f"a file that ends in {', '.join(endings[:-1])} or {endings[-1]}")
        return path

    return pydantic.AfterValidator(check)


PictureFile = Annotated[Path, ending(".png", ".svg", ".pdf", ".jpg")]
GalleryFile = Annotated[Path, ending(".html", ".png", ".svg", ".pdf", ".jpg")]

_ON_COMMAND_LINE: ContextVar[bool] = ContextVar("on_command_line", default=False)


@contextlib.contextmanager
def on_command_line(yes: bool = True) -> Iterator[None]:
    """Make errors name settings as options within the block: `--batch-size 0`, where Python has `batch_size=0`.

    With `yes` False as Python has them, on the command line too: for settings within a text, as `finetune(steps=5)`.
    """
    token = _ON_COMMAND_LINE.set(yes)
    try:
        yield
    finally:
        _ON_COMMAND_LINE.reset(token)


def spelled(name: str, value: Any) -> str:
    """Return a setting and its value as the user wrote them: `--batch-size 0` or `batch_size=0`."""
    if _ON_COMMAND_LINE.get():
        return f"--{name.replace('_', '-')} {value}"
    text = str(value) if isinstance(value, Path) else repr(value)
    return f"{name}={text}" if len(text) < 200 and "\n" not in text else f"{name}={type(value).__name__}(...)"


class Settings(pydantic.BaseModel):
    """What a command is given. Raises UserError, one line, for a value that is wrong and for a name that is unknown."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
    )

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except pydantic.ValidationError as problem:
            raise UserError(_sentence(type(self), problem.errors(include_url=False)[0], values)) from None

    @classmethod
    def among(cls, values: Mapping[str, Any]) -> Self:
        """Select the values that have names of its fields; ignore the others."""
        return cls(**{name: value for name, value in values.items() if name in cls.model_fields})


def option(
    help: str,
    default: Any = ...,
    *,
    metavar: str = "",
    unit: str = "",
    off: tuple[str, Any, str] | None = None,
    each: bool = False,
    flag: str = "",
) -> Any:
    """Make a field that the command line has as an option.

    Args:
      help: the help of the option.
      default: one that must be given where there is none.
      metavar: what --help has for the value.
      unit: the unit of the value, for errors, as "pixels".
      off: a flag of its own that stands for a value: its name, the value, its help.
      each: of several values, whether the option is given once for each, and not one text with commas.
      flag: how it is spelled on the command line where its name cannot be, as "--with", which is a word of Python.
    """
    extra: dict[str, Any] = {"metavar": metavar, "unit": unit, "off": off, "each": each, "flag": flag}
    return pydantic.Field(default, description=help, json_schema_extra=extra)


def subject(metavar: str, default: Any = ...) -> Any:
    """Make a field that the command line has by its place: RUN, DATA."""
    return pydantic.Field(default, json_schema_extra={"subject": metavar})


def python_only(default: Any) -> Any:
    """Make a field that cannot be written as text, and that the command line therefore lacks."""
    return pydantic.Field(default, json_schema_extra={"python_only": True})


def extra_of(field: FieldInfo) -> dict[str, Any]:
    """Return what `option`, `subject` and `python_only` keep with a field."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


class Shape(typing.NamedTuple):
    """What a field takes.

    Attributes:
      kind: int, float, bool, str; `object` for whatever else.
      bounds: those of ge, gt, le, lt that are set.
      choices: all values, where they are listed; () where they are not.
      repeated: whether it takes several.
      words: texts that it takes in place of a number.
    """

    kind: type
    bounds: Mapping[str, float]
    choices: tuple[Any, ...]
    repeated: bool
    words: tuple[str, ...] = ()


def shape(field: FieldInfo) -> Shape:
    """Return what a field takes; None is never among the choices."""
    return _shape(field.annotation, field.metadata)


def _shape(annotation: Any, metadata: typing.Iterable[Any]) -> Shape:
    if typing.get_origin(annotation) is Annotated:
        annotation, *inner = typing.get_args(annotation)
        return _shape(annotation, [*metadata, *inner])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        first, *others = (one for one in typing.get_args(annotation) if one is not type(None))
        words = [word for one in others for word in typing.get_args(one) if typing.get_origin(one) is Literal]
        return _shape(first, metadata)._replace(words=tuple(words))
    if typing.get_origin(annotation) is Literal:
        choices = tuple(typing.get_args(annotation))
        return Shape(type(choices[0]), {}, choices, False)
    if typing.get_origin(annotation) is tuple:
        return _shape(typing.get_args(annotation)[0], ())._replace(repeated=True)
    bounds: dict[str, float] = {}
    for each in metadata:
        for one in [*each.metadata] if isinstance(each, FieldInfo) else [each]:
            bounds |= {name: getattr(one, name) for name in ("ge", "gt", "le", "lt") if hasattr(one, name)}
    kind = annotation if annotation in (int, float, bool, str) else str if annotation is Path else object
    return Shape(kind, bounds, (), False)


def expected(field: FieldInfo) -> str:
    """Say in words what a field takes: "at least 1", "one of: cosine, step"."""
    kind, bounds, choices, _, words = shape(field)
    if choices:
        return f"one of: {', '.join(map(str, choices))}"
    unit = f" {extra_of(field)['unit']}" if extra_of(field).get("unit") else ""
    parts = [f"{word} {bounds[name]}" for name, word in (("ge", "at least"), ("gt", "more than")) if name in bounds]
    if "ge" in bounds and ("le" in bounds or "lt" in bounds):
        below = bounds["le"] if "le" in bounds else bounds["lt"] - 1 if kind is int else f"below {bounds['lt']}"
        parts = [f"from {bounds['ge']} to {below}"]
    elif "le" in bounds:
        parts.append(f"at most {bounds['le']}")
    said = " and ".join(parts) + unit if parts else WORDS.get(kind, "another value") + unit
    return " or ".join([said, *words])


def _sentence(settings: type[Settings], problem: Any, values: Mapping[str, Any]) -> str:
    """Say in one line, for people, the first thing that pydantic reports as wrong."""
    name = str(problem["loc"][0]) if problem["loc"] else ""
    said = problem.get("ctx", {}).get("error")  # of a validator of ours
    if not name:
        return str(said)
    if problem["type"] == "extra_forbidden":
        return f"there is no setting {name!r}; these are: {', '.join(settings.model_fields)}"
    if problem["type"] == "missing":
        return f"{name} is missing"
    field = settings.model_fields[name]
    wanted = said or expected(field)
    if said is None and problem["type"].startswith(("int_", "float_", "bool_", "string_", "path_")):
        kind = WORDS.get(shape(field).kind, wanted)
        wanted = kind if kind == wanted else f"{kind}, {wanted}"
    return f"{spelled(name, values[name])} is given, expected {wanted}"
