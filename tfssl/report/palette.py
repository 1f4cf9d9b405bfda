"""Colours of pages, light and dark, which figures inside of a page take over.

A figure is drawn with the light colours; `as_svg` names them, so that the page decides which they are. Text has a
contrast of 4.5 to 1 at least to what it stands on, lines and bars have 3 to 1 (WCAG 2.2, AA).
"""

COLOURS = {
    "ink": ("#1d2a30", "#e6edf0"),
    "quiet": ("#55636b", "#a9b8bf"),
    "line": ("#dde5e8", "#35434b"),
    "grid": ("#e4eaec", "#2f3c43"),
    "paper": ("#ffffff", "#1a2328"),
    "ground": ("#f4f7f8", "#11181c"),
    "accent": ("#1f6f8b", "#6cc4e0"),
    "random": ("#7f9199", "#81959e"),
    "second": ("#b8601b", "#eb9a57"),
    "third": ("#7a4fa0", "#bd95e0"),
    "fourth": ("#3b7d3e", "#7cc47f"),
    "fifth": ("#b03a5a", "#f08aa5"),
    "sixth": ("#7c6a16", "#cfb94f"),
}
"""Name -> light, dark."""
INK, QUIET, LINE, GRID, TRAINED, RANDOM, SECOND = (
    COLOURS[name][0] for name in ("ink", "quiet", "line", "grid", "accent", "random", "second")
)
SERIES = tuple(COLOURS[name][0] for name in ("accent", "second", "third", "fourth", "fifth", "sixth"))
"""Of what is drawn over each other; after these come the same, dashed."""
