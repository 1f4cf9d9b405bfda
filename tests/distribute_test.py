"""A run under a strategy ends, and goes on where it was."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import tfssl

TOY = "toy:images(count=72, size=32)"
BATCH = 8


@pytest.mark.slow
def test_a_run_under_a_strategy_ends_and_goes_on(replicas, tmp_path, capsys):
    settings = {"trunk": "resnet10(width=4)", "size": 32, "epochs": 2, "batch_size": BATCH, "checkpoint_every": 4}
    settings |= {"strategy": replicas, "report": False, "verbose": 0}
    run = tfssl.pretrain(TOY, out=tmp_path / "run", **settings)
    assert run.result["steps"] == 18
    embedding = run.encoder()(np.zeros([1, 32, 32, 3], np.uint8))
    assert np.isfinite(embedding).all()

    for name in ("result.json", "encoder.keras"):
        (run.folder / name).unlink()
    newest = tf.train.latest_checkpoint(str(run.folder / "checkpoints"))
    for path in (run.folder / "checkpoints").glob(f"{newest.rpartition('/')[2]}.*"):
        path.unlink()  # the one before is of step 16, in the middle of an epoch
    shutil.copytree(run.folder, tmp_path / "copy")
    again = tfssl.pretrain(TOY, out=tmp_path / "copy", **settings)
    assert "from step 16 of 18" in capsys.readouterr().err
    assert again.result["steps"] == 18
    assert again.result["metrics"] == pytest.approx(run_metrics(tmp_path / "run"), rel=1e-3)


def run_metrics(folder) -> dict[str, float]:
    """The metrics of the last epoch of the log."""
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    return {name: line[name] for name in ("loss", "rotation_accuracy")}
