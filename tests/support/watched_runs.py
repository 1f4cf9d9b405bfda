"""A tiny trunk of one's own, and runs of it that are killed, for the tests of what is watched."""

import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.runs.run import Run
from tfssl.training import callbacks

DATA = "toy:images(count=24, size=32)"
LABELLED = "toy:images(count=240, size=40, seed=3)"
SETTINGS = {"size": 32, "batch_size": 8, "epochs": 3, "checkpoint_every": 2, "log_every": 1, "report": False}
"""Three epochs of three steps."""


def trunk(dropout: float) -> keras.Model:
    """Three convolutions with batch norm and dropout, the same weights each time."""
    keras.utils.set_random_seed(1)
    inputs = values = keras.Input((32, 32, 3))
    for stage in ("stage1", "stage2", "stage3"):
        values = keras.layers.Conv2D(8, 3, 2, use_bias=False)(values)
        values = keras.layers.Dropout(dropout)(keras.layers.BatchNormalization()(values))
        values = keras.layers.ReLU(name=stage)(values)
    return keras.Model(inputs, values, name="mine")


def run(out: Path, dropout: float = 0.2, **changes) -> Run:
    """Train, or resume."""
    return tfssl.pretrain(DATA, "rotation", trunk(dropout), out=out, **SETTINGS | {"verbose": 0} | changes)


def kill(out: Path, step: int, **changes) -> None:
    """The same, killed within a step: nothing is saved that was not."""

    class Killed(BaseException):
        pass

    class Steps(callbacks.Steps):
        def on_train_batch_end(self, batch, logs=None):
            if self.done == step - 1:
                raise Killed
            super().on_train_batch_end(batch, logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "Steps", Steps)
        with pytest.raises(Killed):
            run(out, **changes)


def digest(folder: Path) -> str:
    """Of all weights, batch norm statistics, seeds and optimizer variables of the newest checkpoint."""
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder / "checkpoints")))
    found = hashlib.sha256()
    for name in sorted(reader.get_variable_to_shape_map()):
        if name.split("/")[0] in ("weights", "optimizer", "seeds"):
            found.update(np.ascontiguousarray(reader.get_tensor(name)).tobytes())
    return found.hexdigest()


def lines(folder: Path) -> list[dict]:
    """metrics.jsonl without what depends on the clock."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "images_per_second"} for line in found]


def compare(folder: Path) -> dict:
    """Digest and log of runs with one seed: watched, watched and killed, not watched."""
    watched = {"watch": LABELLED, "watch_every": 1, "deterministic": True}
    run(folder / "watched", **watched)
    kill(folder / "killed", 5, **watched)  # behind the look after the first epoch
    run(folder / "killed", **watched)
    run(folder / "alone", watch="none", deterministic=True)
    names = ("watched", "killed", "alone")
    return {name: {"digest": digest(folder / name), "lines": lines(folder / name)} for name in names}


if __name__ == "__main__":
    import sys

    print(json.dumps(compare(Path(sys.argv[1]))))
