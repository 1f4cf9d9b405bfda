"""Inside a network: colours are principal components, cosines survive on the page, filters are those of the network."""

import base64
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.decomposition import PCA

import tfssl
from tfssl.base.errors import UserError
from tfssl.evaluation.inside import maps
from tfssl.frozen import features
from tfssl.frozen.subjects import Subject
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source


def png(uri: str) -> np.ndarray:
    return tf.io.decode_png(base64.b64decode(uri.split(",")[1])).numpy()


def test_the_page_shows_the_network(toy_run, toy_inside, labelled_folder):
    """Maps, filters and names, as the network itself gives them."""
    text = toy_inside.read_text()
    data = json.loads(re.search(r'id="maps">(.*?)</script>', text)[1])
    source = open_source(labelled_folder)
    shown = [[Path(path).name for path in source.paths].index(name) for name in data["names"]]
    assert len(shown) == 3
    (batch,) = batches.plain(source.subset(np.array(shown), "shown"), 32, 3)
    trunk = toy_run.trunk()
    stages = features.stage_model(trunk, 32)(batch["image"])
    assert [each["name"] for each in data["stages"]] == list(stages)
    for each in data["stages"]:
        own = stages[each["name"]].numpy()
        kept = np.frombuffer(base64.b64decode(each["kept"]), np.int8).reshape(-1, each["numbers"]).astype(float)
        assert (each["height"], each["width"]) == own.shape[1:3]
        rows = own.reshape(-1, own.shape[3])
        there = (np.linalg.norm(rows, axis=1) > 0) & (np.linalg.norm(kept, axis=1) > 0)
        rows, kept = (part[there] / np.linalg.norm(part[there], axis=1, keepdims=True) for part in (rows, kept))
        np.testing.assert_allclose(kept @ kept.T, rows @ rows.T, atol=0.05)
        if each["name"] == "stage2":  # colours of the first picture, up to the sign of each
            parts = PCA(3).fit_transform(own.reshape(-1, own.shape[3]))[: own.shape[1] * own.shape[2]]
            (uri,) = re.findall(r'src="([^"]*)" alt="picture 1 as stage2 sees it"', text)
            drawn = png(uri).reshape(-1, 3).astype(float)
            for one, other in zip(drawn.T, parts.T, strict=True):
                assert abs(np.corrcoef(one, other)[0, 1]) > 0.95  # the extremes are cut
    kernel = next(layer.kernel for layer in trunk.body.layers if getattr(layer, "kernel", None) is not None).numpy()
    drawn = [png(uri) for uri in re.findall(r'src="([^"]*)" alt="filter \d+"', text)]
    assert len(drawn) == kernel.shape[3]
    for number, each in enumerate(drawn):
        own = kernel[..., number]
        np.testing.assert_allclose(each, 127.5 + 127.5 * own / np.abs(own).max(), atol=1)
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_colours_are_principal_components():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 6)) * [9, 5, 3, 1, 1, 1]
    colours, explained = maps.principal_colours(rows)
    expected = PCA(3).fit(rows)
    assert explained == pytest.approx(expected.explained_variance_ratio_.sum())
    parts = expected.transform(rows)
    for own, other in zip(colours.astype(float).T, parts.T, strict=True):
        other *= np.sign(np.corrcoef(own, other)[0, 1])
        low, high = np.percentile(other, (2, 98))
        np.testing.assert_allclose(own, 255 * np.clip((other - low) / (high - low), 0, 1), atol=1)
    one, _ = maps.principal_colours(rows[:, :1])  # of one number a place
    assert len(np.unique(one[:, 1])) == 1


def test_what_is_kept_has_its_error_said():
    rows = np.random.default_rng(0).normal(size=(400, 64))
    kept, error = maps.reduced(rows, seed=0)
    assert (kept.dtype, kept.shape) == (np.int8, (400, 32))
    units, small = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows, kept.astype(float)))
    differences = np.abs(units @ units.T - small @ small.T)
    assert np.percentile(differences, 97) < error <= differences.max()
    few, error = maps.reduced(rows[:, :20], seed=0)  # all directions are kept
    assert few.shape == (400, 20)
    assert error < 0.03


def test_large_maps_are_averaged():
    rows = np.random.default_rng(0).normal(size=(2, 64, 64, 4)).astype(np.float32)
    made = maps.places_of("stage1", rows, 0)
    assert (made.height, made.kept.shape) == (64, (2, 32, 32, 4))
    mean = rows.reshape(2, 32, 2, 32, 2, 4).mean((2, 4)).reshape(-1, 4)
    kept = made.kept.reshape(-1, 4).astype(float)
    units, small = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (mean, kept))
    np.testing.assert_allclose((units[:9] @ units.T), (small[:9] @ small.T), atol=0.05)


def test_filters_within_a_model_within_a_model():
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1), keras.layers.Conv2D(5, 3)])
    outer = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(2.0), inner])
    found = maps.filters_of([outer])
    np.testing.assert_array_equal(found[2], inner.layers[1].kernel.numpy()[..., 2])
    assert maps.filters_of([keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(5, 3)])]) is None


def test_an_export_has_places_but_no_filters(labelled_folder, tmp_path, monkeypatch):
    images = keras.Input((8, 8, 3), dtype="uint8")
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(keras.layers.Rescaling(1.0)(images))
    export = Subject(
        name="e", kind="export", size=8, own_size=8, seed=0, embedding=keras.Model(images, {"embedding": mean})
    )
    monkeypatch.setattr("tfssl.evaluation.inside.inside.open_first", lambda *given: export)
    found = tfssl.inside("e", sorted(labelled_folder.glob("2/*"))[:2], tmp_path / "a.html")
    assert (found.filters, [each.places for each in found.stages]) == (None, [(1, 1)])
    assert len(found.pictures) == 2
    assert "No first filters" in str(found)


def test_nothing_lights_up():
    with pytest.raises(UserError, match="the features of stage4 are the same at all places"):
        maps.places_of("stage4", np.ones((2, 3, 3, 4), np.float32), 0)
    with pytest.raises(UserError, match="not finite"):
        maps.places_of("stage4", np.full((2, 3, 3, 4), np.nan, np.float32), 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"pictures": "letter.txt"}, "letter.txt is no picture"),
        ({"pictures": ["flat.png", "letter.txt"]}, "letter.txt is no picture"),
        ({"pictures": "cut.png"}, "cut.png cannot be decoded to its end; give another picture"),
        ({"pictures": "nowhere.png"}, "nowhere.png"),
        ({"pictures": ()}, "no pictures are given; name some"),
        ({"pictures": "toy:text(count=20)"}, "holds no pictures"),
        ({"stage": "stage9"}, "--stage stage9 is given, .* has: stage1"),
        ({"to": "a.png"}, r"to='a.png' is given, expected a file that ends in .html or .htm"),
        ({"subject": "nothing"}, "nothing is no run"),
        ({"count": 0}, "count=0 is given, expected at least 1"),
    ],
)
def test_wrong_input(toy_run, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    Path("letter.txt").write_text("Dear reader,")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))
    noise.save("whole.png")
    Path("cut.png").write_bytes(Path("whole.png").read_bytes()[:900])
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save("flat.png")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=says) as problem:
        tfssl.inside(**{"subject": toy_run, "pictures": "whole.png", "to": "a.html", **arguments})
    assert "\n" not in str(problem.value)
    assert sorted(tmp_path.rglob("*")) == before
