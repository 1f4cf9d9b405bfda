"""The command line answers at once, and says nothing that is not its own."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfssl

HEAVY = {"tensorflow", "keras", "numpy", "matplotlib", "sklearn", "tensorflow_datasets", "tensorflow_io"}
HELP = "import sys; sys.argv = ['tfssl', '--help']; from tfssl.cli.main import main; main()"


def seconds(program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


@pytest.mark.smoke
def test_help_answers_in_half_a_second():
    seconds(HELP)  # compiles
    pairs = [(seconds("pass"), seconds(HELP)) for _ in range(7)]
    bare, helped = (statistics.median(times) for times in zip(*pairs, strict=True))
    # A bare interpreter takes 0.05 s on an idle machine; on a busy one everything takes longer by the same factor.
    allowed = 0.5 * max(1.0, bare / 0.05)
    assert helped < allowed, f"--help took {helped:.2f} s, a bare interpreter {bare:.2f} s"


@pytest.mark.smoke
@pytest.mark.parametrize("program", ["import tfssl, tfssl.pipelines, tfssl.export", HELP], ids=["import", "help"])
def test_nothing_heavy_is_imported(program):
    watched = f"try:\n    {program}\nfinally:\n    import sys; print('loaded:', *({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]
    assert done.stderr == ""


TOY = "toy:images(count=24,size=32)"
TOY_TEST = "toy:images(count=12,size=32,start=24)"
COMMANDS = {
    "quickstart": "quickstart toy:images(count=96,size=32) --minutes 12 --out quick",  # which is done already
    "show": f"show {TOY} --to puzzles.png --size 32 --count 2",
    "pretrain": f"pretrain {TOY} --tasks rotation,inpainting --trunk plain(width=4) --size 32"
    " --epochs 1 --batch-size 8 --out run --watch toy:images(count=48,size=32)",
    "evaluate": f"evaluate run {TOY} --test {TOY_TEST} --protocols linear,knn",
    "report": "report run --to again.html",
    "export": "export run model --tflite int8",
    "cache": "cache",
    "check": "check model",
    "finetune": "finetune run toy:images(count=48,size=32) --out named --steps 2 --batch-size 8"
    " --learning-rates 0.001 --no-refit --beside frozen",
    "predict": f"predict named {TOY_TEST} --to named.csv",
    "embed": f"embed run {TOY} --to embeddings.npz",
    "index": "index embeddings.npz --out index",
    "search": "search index --query picture.png --to gallery.png",
    "compare": f"compare {TOY} --tasks rotation --trunk plain(width=4) --size 32 --steps 2 --batch-size 8 --out study",
    "ingest": "ingest films --out clips --size 16 --processes 1",
    "evaluate-words": "evaluate-words words toy:text(count=60,start=9000) --neighbours cat",
    "pretext": f"pretext run {TOY_TEST} --draws 1",
    "evaluate-sound": "evaluate-sound heard sounds --protocols linear,knn(neighbours=2)",
    "retrieve": "retrieve paired toy:clips(count=16,size=32,seconds=1.2,seed=1)",
    "neighbours": "neighbours paired toy:clips(count=16,size=32,seconds=1.2,seed=1) --to alike.html --count 2"
    " --queries 2",
    "look": f"look {TOY} --with run --to looked --layout pca --select 3",
    "inside": "inside run picture.png --to inside.html",
    "localise": "localise heard films/film.mkv --to heat.png",
    "evaluate-localisation": "evaluate-localisation heard toy:clips(count=4,size=32,seconds=1.2,seed=1)",
    "evaluate-tracking": "evaluate-tracking heard toy:clips(count=4,size=32,seconds=1.2,seed=1)",
    "track": "track heard films/film.mkv --mask 4,4,12,12 --to tracked.mp4",
    "inpaint": "inpaint run picture.png --out painted",
    "colorize": "colorize coloured picture.png --out colours",
    "sweep": f"sweep {TOY} --tasks rotation(rotations={{2}}) --trunk plain(width=4) --size 32 --steps 2"
    " --batch-size 8 --out swept",
    "bench": f"bench pipeline {TOY} --tasks rotation --size 32 --batch-size 8 --passes 1 --seconds 0.02",
    "audit": "audit toy:clips(count=48,size=32,seconds=1.2) --tasks rotation,audio_visual(seconds=0.5) --size 32",
}
# What tfssl says on purpose, to standard error, which is no terminal: a line an epoch, its progress, advice on tasks.
PROGRESS = re.compile(
    r"Epoch \d+/\d+|(\d+)/\1 - .*|\[\d+ of \d+\] .*|(audit|inpainting): .*|(warm-up|pass \d.*): .*"
    r"|[\d,]+ (of [\d,]+ )?(frames|passages|pictures|recordings|sounds|words)"
    r" (coloured|decoded|drawn|embedded|measured|painted|read).*"
    r"|[\d,]+ (of [\d,]+ )?pictures read to watch by.*|watching on .*|looking at the run took .*"
    r"|[\d,]+ to learn from, .*|candidates: .*|cost: .*|\d+ of \d+: .*|learning rate .*"
)


# Each has a process of its own: one that ends as a user's does, and one that starts others.
ALONE = ("show", "ingest")
# The others are called in turn in one process, with the operating system's own files for what they say, native code and
# what they start included.
IN_TURN = """
import json, os, sys
from tfssl.cli.main import _quiet, main

with _quiet():  # TensorFlow starts here; in the commands that have a process of their own it does so as a user sees it
    from tests.support.plain_trunk import Plain
    from tfssl.models.trunks import TRUNKS
TRUNKS["plain"] = Plain
ended = {}
for name, arguments in json.load(sys.stdin).items():
    for number, ending in ((1, "out"), (2, "err")):
        file = os.open(f"{name}.{ending}", os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    try:
        main(arguments)
    except SystemExit as end:
        ended[name] = end.code
    sys.stdout.flush()
    sys.stderr.flush()
with open("ended.json", "w") as file:
    json.dump(ended, file)
"""


def started(program: str, folder: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """What a Python program says and ends with, in a folder where a bare checkout would not be found by itself.

    Warnings are errors in it.
    """
    environment = os.environ | {"PYTHONPATH": str(Path(tfssl.__file__).parents[1]), "PYTHONWARNINGS": "error"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # set for the tests; a user has not set it
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, input=given, capture_output=True, text=True)


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What `tfssl ARGUMENTS` says and ends with."""
    return started("from tfssl.cli.main import main; main()", folder, *arguments)


def run_in_turn(commands: dict[str, list[str]], folder: Path) -> dict[str, subprocess.CompletedProcess[str]]:
    """The same of several commands in one process."""
    done = started(IN_TURN, folder, given=json.dumps(commands))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    ended = json.loads((folder / "ended.json").read_text())
    return {
        name: subprocess.CompletedProcess(
            arguments, ended[name], *((folder / f"{name}.{ending}").read_text() for ending in ("out", "err"))
        )
        for name, arguments in commands.items()
    }


@pytest.fixture(scope="module")
def said(
    audio_visual_run, colour_run, localising_run, word_run, toy_quickstart, tmp_path_factory
) -> dict[str, subprocess.CompletedProcess[str]]:
    """What every command says, run once and in order on tiny runs, with --json."""
    folder = tmp_path_factory.mktemp("quiet")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / "picture.png")
    (folder / "films").mkdir()
    from tests.pipelines.recordings_test import tone, write  # needs PyAV, which the smoke tests do without

    write(folder / "films" / "film.mkv", np.arange(10) / 10, sounds=[tone(1.0)])
    for number in range(10):
        place = folder / "sounds" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        write(place / f"{number}.wav", sounds=[tone(0.6, 300 + 100 * number)])
    shutil.copytree(localising_run.folder, folder / "heard")
    shutil.copytree(audio_visual_run.folder, folder / "paired")
    shutil.copytree(colour_run.folder, folder / "coloured")
    shutil.copytree(word_run.folder, folder / "words")
    shutil.copytree(toy_quickstart, folder / "quick")
    commands = {name: [*text.split(), "--json"] for name, text in COMMANDS.items()}
    found = run_in_turn({name: command for name, command in commands.items() if name not in ALONE}, folder)
    return found | {name: run(commands[name], folder) for name in ALONE}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_says_only_its_own(said, name):
    done = said[name]
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert isinstance(json.loads(line), dict)
    # No bar, no colour, and no line that is written anew.
    assert [line for line in done.stderr.split("\n")[:-1] if not PROGRESS.fullmatch(line)] == []


def test_wrong_input_is_one_line(tmp_path):
    done = run(["show", "nowhere", "--to", "puzzles.png"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "nowhere" in line
    assert not list(tmp_path.iterdir())


def test_every_command_is_tried():
    from tfssl.cli.main import cli

    assert set(cli.commands) == {*COMMANDS, "serve"}  # which does not end: see serve_command_test
