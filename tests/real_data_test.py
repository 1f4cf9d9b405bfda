"""The whole line on real pictures, small: TFSSL_DATA names the folder."""

import numpy as np
import pytest

import tfssl
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source


def test_every_photo_decodes(real_data):
    source = open_source(real_data / "photos", max_broken=0)
    valid = np.concatenate([batch["valid"] for batch in batches.plain(source, 224, 32)])
    assert (source.count, valid.sum()) == (200, 200)
    for step, batch in zip(range(4), batches.training(source, 224, 50, seed=0), strict=False):
        deviations = np.asarray(batch["image"]).reshape(50, -1).std(1)
        assert deviations.min() > 1, f"a picture of step {step} is of one colour"


@pytest.mark.slow
def test_from_photos_to_a_served_encoder(real_data, tmp_path):
    data = tmp_path / "data"
    for split, count in (("train", 80), ("test", 30)):
        for name in ("airplane", "frog", "truck"):
            folder = data / split / name
            folder.mkdir(parents=True)
            for path in sorted((real_data / "cifar10" / split / name).glob("*.jpg"))[:count]:
                (folder / path.name).symlink_to(path)
    settings = {"trunk": "resnet10(width=8)", "size": 32, "batch_size": 24, "report": False, "verbose": 0}
    run = tfssl.pretrain(data / "train", "rotation", out=tmp_path / "run", epochs=4, **settings)
    assert run.result["steps"] == 40
    assert run.result["metrics"]["rotation_accuracy"] > 0.3  # 960 puzzles: chance 0.25, standard deviation 0.014
    evaluation = tfssl.evaluate(run, data, report=False)
    assert (evaluation.train_images, evaluation.test_images, evaluation.classes) == (
        240,
        90,
        ("airplane", "frog", "truck"),
    )
    best = evaluation.trained["linear"][evaluation.best_stage].top1
    assert best > 0.5  # chance is a third, with a standard deviation of 0.05
    exported = tfssl.export(run, tmp_path / "model")
    assert tfssl.check(tmp_path / "model").ok
    assert exported.stage == evaluation.stage_to_export()
    ours = tfssl.embed(run, data / "test", tmp_path / "ours.npz", stage=exported.stage, verbose=0).read()
    served = tfssl.embed(tmp_path / "model", data / "test", tmp_path / "served.npz", verbose=0).read()
    assert ours.embedding.shape == (90, exported.embedding_size)
    np.testing.assert_allclose(served.embedding, ours.embedding, atol=1e-5 * max(1, np.abs(ours.embedding).max()))
    assert list(served.path) == list(ours.path)
