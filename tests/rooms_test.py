"""The house: the table of rooms is complete, and no import goes from a room to a higher one or in a circle."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"tfssl": "tfssl", "pipelines": "tfssl.pipelines", "export": "tfssl.export"}
ENTRANCES = {"tfssl.__main__": "tfssl.cli", "tfssl.demo": "tfssl.cli", "tfssl.serving": "tfssl"}


def rooms() -> list[str]:
    """The rooms, lowest first, as the table has them."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    return re.findall(r"^\| `(tfssl[.\w]*)` \|", page, re.MULTILINE)


def modules() -> dict[str, ast.Module]:
    """Installed name -> source of each module."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            inner = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *inner]).removesuffix(".__init__")] = ast.parse(path.read_text())
    return found


def imports(tree: ast.AST, known: set[str], typing: bool) -> Iterator[str]:
    """Modules that a source imports anywhere; with `typing` also where only type checkers look."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not typing:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield from {f"{node.module}.{alias.name}", node.module} & known
        yield from imports(node, known, typing)


def room_of(module: str) -> str:
    """The room that a module is in."""
    return ENTRANCES.get(module) or ".".join(module.split(".")[:2])


@pytest.fixture(scope="module")
def sources() -> dict[str, ast.Module]:
    if not (ROOT / "CONTRIBUTING.md").exists():
        pytest.skip("needs a checkout")
    return modules()


def test_the_table_has_every_room(sources):
    assert len(rooms()) == len(set(rooms())) > 10
    assert {room_of(module) for module in sources} == set(rooms())


def test_no_import_goes_up(sources):
    order, known = rooms(), set(sources)
    upward = [
        f"{module} imports {name}"
        for module, tree in sources.items()
        for name in imports(tree, known, typing=True)
        if order.index(room_of(name)) > order.index(room_of(module))
    ]
    assert upward == []


def test_no_import_circle(sources):
    known = set(sources)
    graph = {
        # A package's __init__ is run before its modules, but a module does not need what is in it.
        module: {name for name in imports(tree, known, typing=False) if not module.startswith(f"{name}.")} - {module}
        for module, tree in sources.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(f"import circle: {' -> '.join(circle.args[1])}")


def test_the_check_finds_what_it_is_for():
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\ndef f():\n    from b import c, d\n"
    tree, known = ast.parse(source), {"a", "b", "b.c"}
    assert list(imports(tree, known, typing=False)).count("b.c") == 1
    assert set(imports(tree, known, typing=False)) == {"b", "b.c"}
    assert set(imports(tree, known, typing=True)) == {"a", "b", "b.c"}
