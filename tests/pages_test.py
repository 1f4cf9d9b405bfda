"""Every block of code in README.md, CONTRIBUTING.md and docs/ runs, as it stands there, on tiny data in one process."""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
import urllib3
from PIL import Image

import tfssl
import tfssl.serving
from tests.export.limits_test import picture
from tfssl.cli.main import cli, main
from tfssl.evaluation.config import EvaluateSettings
from tfssl.export import saved_model
from tfssl.export.config import ServeSettings
from tfssl.export.deployment import measuring
from tfssl.export.deployment.files import model_name
from tfssl.export.server.serve import running
from tfssl.export.versions import newest_version
from tfssl.pipelines.toy_world.sentences import sentences

ROOT = Path(__file__).parents[1]
README, CONTRIBUTING, SERVING = "README.md", "CONTRIBUTING.md", "docs/serving.md"
CLASSIFIERS, COMMANDS, WORDS = "docs/classifiers.md", "docs/commands.md", "docs/words.md"
DENSE = "docs/dense.md"

# How each block is run, by its page and first line: here as "python" or "shell", in the order of the page, or by
# another test, which takes it from the page.
WAYS = {
    (README, "import tfssl"): "python",
    (README, "pip install ."): "shell",
    (README, "tfssl quickstart photos/ --minutes 30"): "starting/quickstart_test.py",
    (README, "tfssl show photos/ --tasks 'rotation, contrastive' --to puzzles.png"): "shell",
    (README, "tfssl finetune runs/first labelled/ --out classifiers/first --beside scratch"): "shell",
    (CONTRIBUTING, "make test"): "shell",
    (CONTRIBUTING, '"""Mirror: is this picture a mirror image?"""'): "conformance/contributing_test.py",
    (CONTRIBUTING, '"""Nearest class mean: the simplest probe'): "conformance/contributing_protocol_test.py",
    (CLASSIFIERS, "tfssl finetune runs/first labelled/ --out classifiers/first --beside scratch,frozen"): "shell",
    (DENSE, "tfssl finetune runs/first 'toy:images(count=2000, size=96)'"): "downstream/dense_finetune_test.py",
    (DENSE, "tfssl evaluate runs/first 'toy:images(count=2000, size=96)'"): "evaluation/dense_protocols_test.py",
    (DENSE, "tfssl finetune runs/first coco128/ --target detection"): "downstream/boxes_finetune_test.py",
    (COMMANDS, "tfssl evaluate runs/first labelled/ --protocols"): "shell",
    (COMMANDS, "tfssl evaluate runs/first labelled/ --beside"): "shell",
    (COMMANDS, "tfssl neighbours runs/first photos/ --beside"): "shell",
    (COMMANDS, "tfssl look labelled/ --with runs/first"): "shell",
    (COMMANDS, "tfssl inside runs/first"): "shell",
    (COMMANDS, "tfssl report runs/first"): "shell",
    (SERVING, 'encoder = tfssl.load_run("runs/first").encoder("stage3")'): "python",
    (SERVING, 'dataset = tfssl.puzzles("photos/", "rotation"'): "python",
    (SERVING, "tfssl export runs/first models/encoder          # writes"): "shell",
    (SERVING, "mv models/encoder/2 models/encoder/withdrawn-2"): "shell",
    (SERVING, "tfssl serve models/encoder"): "shell",
    (WORDS, "tfssl pretrain text:corpus.txt"): "shell",
    (SERVING, 'with tfssl.serving.Client("localhost:8500", model="encoder") as client:'): "python",
    (SERVING, "pip install '.[devices,search]'"): "shell",
    (SERVING, 'model = tf.saved_model.load("models/encoder/1")'): "python",
}

# What is smaller here than on the pages; ports come to it when a server runs.
SMALLER = {
    'pretrain("photos/", ': 'pretrain("photos/", trunk="plain(width=4)", size=48, epochs=1, ',
    "pretrain photos/ ": "pretrain photos/ --trunk 'plain(width=4)' --size 48 --epochs 1 ",
    "--box 40,60,96,96": "--box 1,1,4,4",
    "96": "48",
    'evaluate(run, "labelled/")': 'evaluate(run, "labelled/", protocols="knn")',
    "models/classifier --tflite float32,int8": "models/classifier",
    "evaluate runs/first labelled/": "evaluate runs/first labelled/ --protocols knn",
    "linear, finetune(labels=20, draws=5), supervised": "supervised(steps=1, learning_rates=(0.01,))",
    "mobilenet_v3_small(weights='imagenet')": "plain(width=2)",
    "look labelled/": "look labelled/ --layout pca",
    "--out classifiers/first": "--out classifiers/first --steps 2 --learning-rates 0.001 --no-report",
}


class Block(NamedTuple):
    """A block of code: its page, the number of its first line, its text, and whether it stands between fences."""

    page: str
    line: int
    text: str
    fenced: bool

    @property
    def way(self) -> str:
        """The one entry of WAYS that begins as the block does; "" where there is none."""
        found = [way for (page, start), way in WAYS.items() if page == self.page and self.text.startswith(start)]
        return found[0] if len(found) == 1 else ""


def blocks_of(page: str, text: str) -> list[Block]:
    """Blocks between fences, and those that four spaces at the beginning of each line mark."""
    fenced = r"^```[^\n]*\n(?P<fenced>.*?)^```$"
    indented = r"(?<=\n\n)(?P<indented>(?:    [^\n]*\n)+)"
    found = re.finditer(f"{fenced}|{indented}", text, re.MULTILINE | re.DOTALL)
    made = []
    for match in found:
        kind = str(match.lastgroup)
        code = re.sub("^    ", "", match[kind], flags=re.MULTILINE) if kind == "indented" else match[kind]
        made.append(Block(page, text.count("\n", 0, match.start(kind)) + 1, code, kind == "fenced"))
    return made


def blocks(page: str) -> list[Block]:
    if not (ROOT / page).is_file():
        pytest.skip("the tests run outside of a checkout")
    return blocks_of(page, (ROOT / page).read_text())


def test_blocks_are_found():
    text = (
        "# A\n\nWords\n\n    make it  # so\n    make more\n\n```python\nif 1:\n    x = 2\n```\n\n- b\n\n```\nc\n```\n"
    )
    assert blocks_of("a.md", text) == [
        Block("a.md", 5, "make it  # so\nmake more\n", False),
        Block("a.md", 9, "if 1:\n    x = 2\n", True),
        Block("a.md", 16, "c\n", True),
    ]


def test_every_block_is_run_by_a_test():
    pages = [README, CONTRIBUTING, *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]
    found = [block for page in pages for block in blocks(page)]
    texts = [(ROOT / page).read_text() for page in pages]
    assert sum(text.count("```") + text.count("~~~") for text in texts) == 2 * sum(block.fenced for block in found)
    assert [f"{block.page}:{block.line} is run by no test" for block in found if not block.way] == []
    assert len(found) == len(WAYS)
    for block in found:
        if block.way not in ("python", "shell"):
            assert f'"{block.page}"' in (ROOT / "tests" / block.way).read_text()


class World:
    """A folder of somebody who follows the pages, and what their commands do there."""

    def __init__(self, folder: Path, open_until_the_end: contextlib.ExitStack):
        self.folder, self.stack = folder, open_until_the_end
        self.smaller = dict(SMALLER)
        self.names: dict[str, Any] = {"tfssl": tfssl, "keras": keras, "tf": tf}

    def run(self, page: str) -> Iterator[Block]:
        """Run the blocks of a page one after another, and give each when it is done."""
        for block in blocks(page):
            if block.way in ("python", "shell"):
                getattr(self, block.way)(block)
                yield block

    def python(self, block: Block) -> None:
        text = "\n" * (block.line - 1) + self._smaller(block.text)
        exec(compile(text, str(ROOT / block.page), "exec"), self.names)

    def shell(self, block: Block) -> None:
        here = self.folder
        for line in self._smaller(block.text).splitlines():
            words = shlex.split(line, comments=True)
            if words[0] == "cd":  # cd FOLDER && COMMAND
                here, words = here / words[1], words[3:]
            program, *arguments = words
            if program in ("echo", "mv"):
                subprocess.run(["bash", "-c", line], cwd=here, check=True)
            else:
                getattr(self, f"_{program}")(here, [argument.replace("$PWD", str(here)) for argument in arguments])

    def _smaller(self, text: str) -> str:
        for said, here in self.smaller.items():
            text = text.replace(said, here)
        return text

    def _tfssl(self, here: Path, arguments: list[str]) -> None:
        if arguments[0] == "serve":
            return self._serve(arguments[1:])
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0, arguments

    def _serve(self, arguments: list[str]) -> None:
        given = cli.commands["serve"].make_context("serve", arguments).params
        settings = ServeSettings.among(given | {"rest_port": 0, "grpc_port": 0})
        assert (given["host"], given["rest_port"], given["grpc_port"]) == ("127.0.0.1", 8501, 8500)
        addresses, _ = self.stack.enter_context(running(settings))
        assert addresses.model == "encoder"
        self.smaller |= {"127.0.0.1:8501": addresses.rest, "localhost:8500": addresses.grpc}
        self.server = addresses

    def _curl(self, here: Path, arguments: list[str]) -> None:
        *data, url = arguments
        url = self._smaller(url)
        if not data:
            answer = urllib3.request("GET", url, timeout=60.0).json()
            assert answer["model_version_status"][0]["state"] == "AVAILABLE"
            return
        flag, file = data
        assert (flag, file[0]) == ("-d", "@")
        answer = urllib3.request("POST", url, body=(here / file[1:]).read_bytes(), timeout=60.0).json()
        assert [row["valid"] for row in answer["predictions"]] == [True]

    def _make(self, here: Path, arguments: list[str]) -> None:
        """There is such a target; it would install, test, or train for minutes."""
        (target,) = arguments
        assert re.search(f"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)

    def _pip(self, here: Path, arguments: list[str]) -> None:
        """There are such extras; it would install."""
        install, what = arguments
        assert (install, what[0]) == ("install", ".")
        extras = set(what[1:].strip("[]").split(",")) - {""}
        assert extras <= set(re.findall(r'^    "(\w+)": \[', (ROOT / "setup.py").read_text(), re.MULTILINE))

    def _tensorflow_model_server(self, here: Path, arguments: list[str]) -> None:
        """It is shown a folder with versions, by flags that it has, and the name that `serve` takes too."""
        flags = dict(argument.removeprefix("--").split("=") for argument in arguments)
        assert set(flags) == {"model_base_path", "model_name", "rest_api_port"}
        assert Path(flags["model_base_path"]).is_absolute()
        assert newest_version(flags["model_base_path"]).name.isdecimal()
        assert flags["model_name"] == model_name(flags["model_base_path"])

    def _docker(self, here: Path, arguments: list[str]) -> None:
        """There is a file for it, and a health check, for which it waits."""
        assert arguments == ["compose", "up", "--wait"]
        assert "healthcheck:" in (here / "compose.yaml").read_text()


def once(patch: pytest.MonkeyPatch, kept: Path) -> None:
    """Do what takes long once: the pages export one run and one classifier, and the commands are the lines in Python.

    Reports, and heads of exports, have tests of their own.
    """
    patch.setattr("tfssl.frozen.precise.PRECISE_STEPS", 2)
    patch.setattr("tfssl.multitask.encoders.PRECISE_STEPS", 2)
    patch.setattr("tfssl.report.page.write_report", lambda run, to=None: Path(run.folder))
    patch.setattr(measuring, "ROWS", (1,))
    patch.setattr(saved_model, "head_signatures", lambda run: [])
    write, golden, evaluate = saved_model.write_saved_model, saved_model.make_golden, tfssl.evaluate
    evaluated: list[Any] = []

    def write_or_copy(signatures: Any, folder: Path, tracked: Any = ()) -> None:
        mine = kept / "-".join(signature.name for signature in signatures)
        if not mine.is_dir():
            write(signatures, mine, tracked)
        shutil.copytree(mine, folder, dirs_exist_ok=True)

    def evaluate_or_compare(subject: Any, data: Any, **given: Any) -> Any:
        settings = EvaluateSettings(subject=str(getattr(subject, "folder", subject)), data=data, **given)
        if settings.beside or settings.protocols != ("knn",):  # docs/commands.md
            return evaluate(subject, data, **given | {"random": False})
        if not evaluated:
            evaluated.extend([settings, evaluate(subject, data, **given)])
        assert settings == evaluated[0]
        return evaluated[1]

    made: dict[tuple[str, ...], Any] = {}

    def golden_once(signatures: Any, *others: Any) -> Any:
        names = tuple(signature.name for signature in signatures)
        made[names] = made.get(names) or golden(signatures, *others)
        return made[names]

    patch.setattr(saved_model, "write_saved_model", write_or_copy)
    patch.setattr(saved_model, "make_golden", golden_once)
    patch.setattr(tfssl, "evaluate", evaluate_or_compare)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """One in which the blocks of README.md were run."""
    folder = tmp_path_factory.mktemp("pages")
    numbers = np.random.default_rng(0)
    for number in range(64):
        for name in (f"photos/{number}.png", f"labelled/{'cats' if number % 2 else 'dogs'}/{number}.png"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(numbers.integers(0, 256, [4, 4, 3], np.uint8)).resize((49, 50)).save(folder / name)
    for name in ("photo.jpg", "a.jpg", "mine.jpg", "b.png"):
        (folder / name).write_bytes(picture("PNG" if name.endswith("png") else "JPEG"))
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.chdir(folder)
        once(patch, folder / "kept")
        world = World(folder, stack)
        world.done = list(world.run(README))
        yield world


def in_one_world(test):
    """Mark a test whose blocks run in `world`: in `make test-slow`, all in one process."""
    return pytest.mark.slow(pytest.mark.xdist_group("pages")(test))


@in_one_world
def test_readme(world):
    """The commands are the lines in Python, so `pretrain` finds its run, whole, and the second export is the first."""
    assert len(world.done) == 4
    metrics = (world.folder / "runs/first/metrics.jsonl").read_text().splitlines()
    assert sum('"epoch_end"' in line for line in metrics) == 1
    first, second = (
        tf.saved_model.load(f"models/encoder/{number}").signatures["serving_default"](
            image_bytes=tf.constant([Path("photo.jpg").read_bytes()])
        )["embedding"]
        for number in (1, 2)
    )
    np.testing.assert_array_equal(first, second)


@in_one_world
def test_words(world):
    """Sentences of the toy grammar stand in for a corpus, and a few of its words for other people's files."""
    for name, start in (("corpus.txt", 0), ("held-out.txt", 5000)):
        Path(name).write_text("\n".join(sentences(1400, start=start)))
    Path("questions-words.txt").write_text(": animals\ncat dog dog cat\n")
    Path("wordsim353.tsv").write_text("cat\tdog\t9.0\nred\tbread\t1.0\nhorse\tcow\t8.0\n")
    assert len(list(world.run(WORDS))) == 1
    found = json.loads(Path("runs/words/words_evaluation.json").read_text())
    assert found["held_out"]["loss"] < 0.9 * found["held_out"]["random"]  # after five steps
    assert set(found["neighbours"]["trained"]) == {"horse", "garden"}
    assert Path("models/words/1/words.bin").is_file()


@in_one_world
def test_classifiers(world):
    """What README has done is read; beside it comes what README leaves out. `predict` writes over nothing."""
    first = Path("predictions.csv").read_text().splitlines()
    assert len(first) == 65
    Path("predictions.csv").unlink()
    assert len(list(world.run(CLASSIFIERS))) >= 1
    assert sorted(Path("predictions.csv").read_text().splitlines()[1:]) == sorted(first[1:])
    result = json.loads(Path("classifiers/first/result.json").read_text())
    assert {row["kind"] for row in result["rows"]} == {"fine-tuned", "scratch", "frozen"}
    assert newest_version("models/classifier").name == "1"


@in_one_world
def test_commands(world):
    shutil.copytree("runs/first", "runs/second")
    assert len(list(world.run(COMMANDS))) == 6
    assert "2 runs side by side" in Path("compare.html").read_text()
    shutil.rmtree("runs/second")  # docs/serving.md has another one
    assert Path("neighbours.html").read_text().count('<section class="row">') == 6
    assert Path("patches.png").stat().st_size
    assert Path("inside.html").read_text().count('class="seen"') == 8
    assert len(Path("seen/selected.csv").read_text().splitlines()) == 21
    (name, export) = json.loads(Path("runs/first/evaluation.json").read_text())["beside"]
    assert (name["name"], export["name"]) == ("plain(width=2)", "models/encoder")
    assert set(name["ahead"]) == set(export["ahead"]) == {"knn"}


@in_one_world
def test_contributing(world):
    assert len(list(world.run(CONTRIBUTING))) == 1


@in_one_world
def test_serving(world):
    shutil.rmtree("models/encoder/2")  # the page begins with the first version
    shutil.copytree("runs/first", "runs/second")
    images = tf.data.Dataset.from_tensor_slices(np.random.default_rng(1).integers(0, 256, [8, 48, 48, 3], np.uint8))
    labels = tf.data.Dataset.range(8)
    world.names["images_and_labels"] = tf.data.Dataset.zip(images, labels).batch(4)
    page = world.run(SERVING)

    own = next(page)
    model, encoder = world.names["model"], world.names["encoder"]
    assert set(model.history.history) == {"loss", "accuracy"}
    (without,) = re.findall(r"# or, without tfssl:  (.*)", own.text)
    exec(without, world.names)
    assert world.names["encoder"].input_shape == encoder.input_shape == (None, 48, 48, 3)
    assert len(world.names["encoder"].output_shape) == len(encoder.output_shape) == 2

    next(page)
    ((turned, answers, weights),) = zip(*(each.values() for each in next(iter(world.names["dataset"]))), strict=True)
    assert (turned.shape, answers.shape, weights.shape) == ((256, 48, 48, 3), (256,), (256,))

    next(page)
    assert newest_version("models/encoder").name == "2"
    next(page)
    assert sorted(path.name for path in Path("models/encoder").iterdir() if path.is_dir()) == ["1", "3", "withdrawn-2"]

    next(page)
    assert world.server.version == 3
    next(page)
    with tfssl.serving.Client(world.server.grpc, model="encoder") as client:
        embedding = client.embed(["photo.jpg"])

    next(page)
    assert Path("answers.png").stat().st_size
    assert {path.name for path in Path("models/encoder/4/tflite").iterdir()} >= {"pixels_int8.tflite"}
    next(page)
    np.testing.assert_allclose(world.names["found"]["embedding"], embedding, atol=1e-4)
    assert world.names["found"]["valid"].numpy().tolist() == [True]
    assert list(page) == []
    assert "tfssl.serving" in sys.modules
