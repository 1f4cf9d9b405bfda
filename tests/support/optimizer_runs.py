"""Runs of each optimizer that are killed, for the test of how runs learn; in a process of its own."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from tests.support import watched_runs
from tfssl.multitask import rate_range
from tfssl.runs.run import load_run

AVERAGED = {"optimizer": "adamw", "learning_rate": 0.2, "ema": 0.9, "keep_every": 1}
AVERAGED |= {"watch": None, "watch_every": 1, "dropout": 0.0}
CASES = {
    "adamw": AVERAGED,
    "sgd": {"learning_rate": "auto", "clip_norm": 0.5, "accumulate": 3},
    "lars": {"optimizer": "lars", "accumulate": 3, "ema": 0.5},
}
SIX_STEPS = {"epochs": 1, "steps_per_epoch": 6, "checkpoint_every": 4, "watch": "none", "deterministic": True}
"""The checkpoint before the last is of step 4, in the middle of what makes an update."""


def compare(folder: Path) -> dict:
    """Of each case what a run ends with, and one that knows only what was on the disk after the fourth step."""
    rate_range.UPDATES = 12
    found: dict = {}
    for case, settings in CASES.items():
        settings = SIX_STEPS | settings
        watched_runs.run(folder / case / "whole", **settings)
        shutil.copytree(folder / case / "whole", folder / case / "killed")
        for written in ("checkpoints/step-6.*", "*encoder.keras", "heads/*", "result.json"):
            for path in (folder / case / "killed").glob(written):
                path.unlink()
        watched_runs.run(folder / case / "killed", **settings)
        found[case] = {name: _end_of(folder / case / name) for name in ("whole", "killed")}
    return found


def _end_of(folder: Path) -> dict:
    arrays = load_run(folder).trunk().body.get_weights()
    with np.load(folder / "heads" / "rotation.npz") as head:
        arrays += [head[name] for name in head.files]
    made = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    return {"digest": watched_runs.digest(folder), "made": made, "lines": watched_runs.lines(folder)}


if __name__ == "__main__":
    print(json.dumps(compare(Path(sys.argv[1]))))
