"""Pages from the templates here: one file each, which needs no other and no network."""

from collections.abc import Callable, Mapping
from typing import Any

from tfssl.report.palette import COLOURS


def render(template: str, contents: Mapping[str, Any], filters: Mapping[str, Callable[..., Any]] | None = None) -> str:
    """Return a page.

    Args:
      template: its name; it extends `base.html.jinja`.
      contents: what it shows, by the names that it has for it.
      filters: of this template alone.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfssl.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = lambda text: text.replace(" %", "\u00a0%")
    environment.filters.update(filters or {})
    return environment.get_template(template).render(contents, colours=COLOURS)
