"""Hostile requests: each gets an error of its own or an answer, and a good one in between is answered right.

TFSSL_FUZZ=10000 sends that many to each target; `python -m tests.support.fuzz rest 10000` prints the figures.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tfssl
from tests.support import fuzz
from tests.support.tiny_models import write_version

COUNT = int(os.environ.get("TFSSL_FUZZ", "200"))


def in_a_process(target: str) -> dict[str, Any]:
    """What comes of it where nothing else takes memory."""
    folder = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(tfssl.__file__).parents[1]), str(folder)])}
    command = [sys.executable, "-m", "tests.support.fuzz", target, str(COUNT)]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One for both protocols; that it lives and ends cleanly is seen at the end."""
    folder = tmp_path_factory.mktemp("fuzz") / "models"
    write_version(folder, 1)
    with fuzz.serving(folder) as server:
        yield server


@pytest.mark.parametrize("target", ["saved_model", "rest", "grpc"])
def test_every_request_is_answered_or_refused(target, request):
    if target == "saved_model":
        report = in_a_process(target)
    else:
        report = vars(getattr(fuzz, target)(request.getfixturevalue("server"), COUNT, 0))
    assert report["unclean"] == []
    assert report["answered"] + report["refused"] == COUNT
    assert report["answered"] > 0.3 * COUNT * (target == "saved_model")
    assert report["refused"] > 0.1 * COUNT * (target != "saved_model")
    assert report["good"] >= COUNT // 40
    assert report["peak"] - report["before"] < 1500
