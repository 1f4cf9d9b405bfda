"""Every file of tests can be collected where no extra is installed, as it is when the built wheel is tested."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib import metadata

import pytest

from tests.rooms_test import ROOT, modules

TOOLS = {"pytest", "pytest-xdist", "pillow", "filelock"}
"""What the tests of the wheel are installed with, beside the wheel."""


def plain(name: str) -> str:
    """A distribution's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(names: set[str]) -> set[str]:
    """These distributions, and whatever they need without extras."""
    found: set[str] = set()
    rest = {plain(name) for name in names}
    while rest:
        name = rest.pop()
        found.add(name)
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # of another platform
            continue
        ours = (plain(re.match(r"[\w.-]+", line)[0]) for line in requirements if "extra ==" not in line)
        rest |= set(ours) - found
    return found


def brought(allowed: set[str]) -> set[str]:
    """Top-level names that can be imported with these distributions, beside Python's own."""
    owners = metadata.packages_distributions()
    return set(sys.stdlib_module_names) | {
        name for name, owned in owners.items() if allowed & {plain(one) for one in owned}
    }


def run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """What is run when a module is imported, in order: not the bodies of functions, nor what is for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Try) and node.handlers:  # it has an answer to what is missing
            continue
        yield node
        yield from run_at_import(node)


def asked_and_imported(tree: ast.Module) -> list[tuple[bool, tuple[str, ...]]]:
    """What a module asks for by `importorskip` (True) or imports (False) at once, in order."""
    found: list[tuple[bool, tuple[str, ...]]] = []
    for node in run_at_import(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.importorskip":
            found.append((True, (ast.literal_eval(node.args[0]),)))
        elif isinstance(node, ast.Import):
            found += [(False, (alias.name,)) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((False, (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))))
    return found


def missing(module: str, sources: dict[str, list], there: set[str], seen: set[str]) -> set[str]:
    """Names that a module imports at once, itself or by a module of ours, and that are neither there nor asked for.

    What `importorskip` asked for before is not missing: without it the file is skipped.
    """
    lacking: set[str] = set()
    seen.add(module)
    for asked, names in sources[module]:
        if asked:
            there = there | {names[0].split(".")[0]}
            continue
        parts = names[-1].split(".")
        prefixes = {".".join(parts[:count]) for count in range(1, len(parts) + 1)} | set(names)
        ours = prefixes & set(sources)
        for inner in ours - seen:
            lacking |= missing(inner, sources, there, seen)
        if not ours and parts[0] not in there:
            lacking.add(parts[0])
    return lacking


def base_requirements() -> set[str]:
    """What the installed package needs without extras."""
    lines = metadata.requires("tfssl")
    return {re.match(r"[\w.-]+", line)[0] for line in lines if "extra ==" not in line}


@pytest.fixture(scope="module")
def sources() -> dict[str, list]:
    if not (ROOT / "setup.py").exists():
        pytest.skip("needs a checkout")
    tests = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_text())
        for path in (ROOT / "tests").rglob("*.py")
    }
    return {name: asked_and_imported(tree) for name, tree in (modules() | tests).items()}


def test_every_file_of_tests_can_be_collected_without_extras(sources):
    there = brought(needed(base_requirements()) | needed(TOOLS)) | {"tfssl", "tests"}
    assert {"tensorflow", "sklearn", "PIL"} <= there
    assert not {"keras_hub", "umap", "tf2onnx"} & there
    files = [name for name in sources if name.startswith("tests.")]
    lacking = {name: found for name in files if (found := missing(name, sources, there, set()))}
    assert lacking == {}


def test_the_check_finds_what_it_is_for():
    ours = {"tfssl.boxes": "import keras_hub\ndef f():\n    import umap", "tfssl": ""}
    for source, expected in {
        "from tfssl.boxes import f": {"keras_hub"},
        "from tfssl import boxes": {"keras_hub"},
        "import pytest\npytest.importorskip('keras_hub')\nfrom tfssl.boxes import f": set(),
        "av = pytest.importorskip('av')\nimport umap": {"umap"},
        "from pycocotools.coco import COCO": {"pycocotools"},
        "def f():\n    import umap": set(),
        "try:\n    import umap\nexcept ImportError:\n    umap = None": set(),
    }.items():
        sources = {name: asked_and_imported(ast.parse(text)) for name, text in (ours | {"test": source}).items()}
        assert missing("test", sources, {"pytest", "tfssl"}, set()) == expected, source
