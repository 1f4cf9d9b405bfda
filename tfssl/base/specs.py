"""Names with settings, as text: `rotation(rotations=4)`, `resnet18(width=32)`. Literals only, nothing is executed."""

import ast
import dataclasses
from collections.abc import Iterable
from typing import Any

from tfssl.base.errors import UserError

EXPECTED = "expected a name, or a name with settings as in 'rotation(rotations=4)', commas between several"


def split_list(text: str) -> list[str]:
    """Split 'a(x=1, y=2), b' into ['a(x=1, y=2)', 'b']. Raise UserError where the text is no such list."""
    try:
        parsed = ast.parse(f"[{text.strip()}]", mode="eval").body
    except (SyntaxError, ValueError):
        raise UserError(f"cannot read {text!r}: {EXPECTED}") from None
    if not isinstance(parsed, ast.List) or not parsed.elts:
        raise UserError(f"cannot read {text!r}: {EXPECTED}")
    return [ast.unparse(element) for element in parsed.elts]


def parse_call(text: str) -> tuple[str, dict[str, Any]]:
    """Parse 'a(x=1)' as ('a', {'x': 1}), and 'a' as ('a', {}). Raise UserError where the text is neither."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, {}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
            settings = {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg is not None}
            if len(settings) == len(node.keywords):
                return node.func.id, settings
    except (SyntaxError, ValueError):
        pass
    raise UserError(f"cannot read {text!r}: {EXPECTED}")


def format_call(name: str, settings: dict[str, Any]) -> str:
    """Invert `parse_call`."""
    inside = ", ".join(f"{key}={value!r}" for key, value in settings.items())
    return f"{name}({inside})" if inside else name


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Make the error for an unknown name: it lists the known ones."""
    return UserError(f"unknown {kind} {name!r}; {kind}s are: {', '.join(sorted(known)) or 'none'}")


def check_settings(owner: str, settings: dict[str, Any], known: dict[str, Any]) -> None:
    """Refuse settings that are not known, or not of the type of their default (an int will do for a float)."""
    for key, value in settings.items():
        if key not in known:
            raise UserError(f"{owner} has no setting {key!r}; its settings are: {', '.join(known) or 'none'}")
        default = known[key]
        if default is None:
            continue
        wanted = (int, float) if isinstance(default, float) else (type(default),)
        if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool):
            raise UserError(
                f"{owner}: {key}={value!r} is given, expected {type(default).__name__}, such as {default!r}"
            )


def defaults(settings_class: type) -> dict[str, Any]:
    """Return the settings of a dataclass with their defaults."""
    return {f.name: f.default for f in dataclasses.fields(settings_class) if not f.metadata.get("learned")}


def learned_fields(settings_class: type) -> list[str]:
    """Return the names of the fields of a dataclass that are not settings but are learned from a source."""
    return [f.name for f in dataclasses.fields(settings_class) if f.metadata.get("learned")]
