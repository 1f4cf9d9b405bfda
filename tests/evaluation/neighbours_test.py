"""Neighbours are those that numpy finds among all features; never of the query's own recording, nor near-duplicates."""

import io
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfssl
from tfssl.base.errors import UserError
from tfssl.evaluation.neighbours import found as measures
from tfssl.frozen import features
from tfssl.frozen.precise import estimate_batch_norm
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source
from tfssl.report import gallery
from tfssl.runs.served import Embedding

CLIPS = "toy:clips(count=24, size=32, seconds=1.2, seed=1)"
COUNT = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures of 60 x 40 pixels in class folders: 24, and of number 0 a copy and a near-duplicate."""
    folder = tmp_path_factory.mktemp("pictures")
    source = open_source(f"toy:images(count={COUNT}, size=60)")
    for number, data in enumerate(source.encoded):
        place = folder / "abc"[number % 3]
        place.mkdir(exist_ok=True)
        image = Image.open(io.BytesIO(data)).convert("RGB").crop((0, 10, 60, 50))
        image.save(place / f"{number:02d}.png")
        if number == 0:
            image.save(place / "copy.png")
            image.save(place / "near.jpg", quality=60)
    return folder


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def embedded(run, images: np.ndarray) -> np.ndarray:
    """Of uint8 [N, 32, 32, 3], by the run's encoder."""
    return unit(run.encoder("stage4")(images).numpy())


def names(places) -> list[str]:
    return [Path(each.path).name for each in places]


@pytest.mark.slow
def test_pictures_as_numpy_finds_them(toy_run, folder, tmp_path):
    """Five networks, one of which is the run itself by another name, and one takes pictures of another size.

    It takes some seconds for their graphs.
    """
    shutil.copy(folder / "a" / "00.png", tmp_path / "query.png")
    other = keras.Sequential([keras.Input((48, 48, 3)), keras.layers.Conv2D(6, 8, 8, activation="relu")], name="other")
    beside = (toy_run.folder / "encoder.keras", "plain(width=2)", other)
    found = tfssl.neighbours(
        toy_run, folder, tmp_path / "alike.html", query=tmp_path / "query.png", count=3, beside=beside, batch_size=7
    )
    source = open_source(folder)
    images = np.concatenate([batch["image"] for batch in batches.plain(source, 32, 32)])
    labels, files = source.labels, names([type("P", (), {"path": path}) for path in source.paths])
    untrained = features.stage_model(toy_run.random_trunk(), 32)
    estimate_batch_norm(untrained, source, 32, toy_run.settings.batch_size, 0)
    large = np.concatenate([batch["image"] for batch in batches.plain(source, 48, 32)])
    standardised = (large / 255 - 0.47) / 0.25
    by_number = {
        0: embedded(toy_run, images),
        1: unit(untrained(images)["stage4"].numpy().mean((1, 2))),
        4: unit(other(standardised).numpy().mean((1, 2))),
    }
    copies = {files.index(name) for name in ("00.png", "copy.png", "near.jpg")}

    def nearest(rows: np.ndarray, query: int) -> list[int]:
        cosines = rows @ rows[query]
        left_out = copies if query in copies else {query}
        seen: set[int] = set()
        chosen: list[int] = []
        for each in np.argsort(-cosines, kind="stable"):
            group = source.groups[each]  # of the copies of 00.png one counts
            if each not in left_out and group not in seen:
                seen.add(group)
                chosen.append(int(each))
        return chosen[:3]

    (query,) = found.queries
    assert (query.path, query.label, query.left_out) == (str(tmp_path / "query.png"), "a", 2)
    for number, own in by_number.items():
        answers = query.found[number]
        expected = nearest(own, files.index("00.png"))
        assert names(answers) == [files[each] for each in expected]
        assert [each.label for each in answers] == [source.classes[labels[each]] for each in expected]
        cosines = (own @ own[files.index("00.png")])[expected]
        np.testing.assert_allclose([each.similarity for each in answers], cosines, atol=2e-3)

    # Each of the pictures was asked for once: what they agree on.
    everyone = range(len(files))
    shares = [
        np.array([np.mean([labels[each] == labels[query] for each in nearest(own, query)]) for query in everyone])
        for own in by_number.values()
    ]
    first, untrained_too, same, small, larger = found.networks
    assert [each.name for each in found.networks] == [
        str(toy_run.folder),
        "random weights",
        str(beside[0]),
        "plain(width=2)",
        "other",
    ]
    assert larger.alike[0] == pytest.approx(shares[2].mean(), abs=0.02)
    assert found.sampled == found.items == len(files)
    assert first.alike[0] == pytest.approx(shares[0].mean(), abs=0.02)  # features are kept as float16
    assert untrained_too.alike[0] == pytest.approx(shares[1].mean(), abs=0.02)
    assert untrained_too.ahead.mean == pytest.approx(first.alike[0] - untrained_too.alike[0])
    low, high = untrained_too.ahead.low, untrained_too.ahead.high
    spread = np.std(shares[0] - shares[1], ddof=1) / np.sqrt(len(files))
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.1)
    assert (same.alike, same.shared, same.ahead.mean) == (first.alike, 1.0, 0.0)
    assert first.shared is None
    assert small.stage == "stage4"
    text = str(found)
    assert f"{100 * first.alike[0]:.1f} % of the 3 nearest of each of 26 pictures have its class" in text
    assert f"at random {100 * found.chance:.1f} % would" in text
    printed = json.loads(json.dumps(found.as_json()))
    assert printed["queries"][0]["found"][0][0]["path"] == query.found[0][0].path
    page = (tmp_path / "alike.html").read_text()
    assert page.count("<img") == 1 + 5 * 3


@pytest.mark.slow
def test_near_duplicates_where_asked(toy_run, folder, tmp_path, monkeypatch):
    """At the stage that an evaluation has found best, too. It takes seconds for the graph of a network."""
    best = Embedding("stage2", 1, {}, "")
    monkeypatch.setattr("tfssl.evaluation.neighbours.networks.embedding_of", lambda run: best)
    given = {"query": folder / "a" / "00.png", "count": 2, "random": False, "duplicates": True, "stage": "best"}
    run = shutil.copytree(toy_run.folder, tmp_path / "run")
    written: list[Path] = []
    monkeypatch.setattr("tfssl.evaluation.neighbours.neighbours.write_report", lambda run: written.append(run.folder))
    found = tfssl.neighbours(run, folder, tmp_path / "alike.png", **given, report=True)
    assert written == [run]
    kept = gallery.kept(run)
    assert kept["columns"] == [each.title for each in found.networks] == [f"{run}, stage2"]
    (query,) = found.queries
    captions = [each["caption"].splitlines()[0] for each in kept["rows"][0]["found"][0]]
    assert captions == [f"{each.similarity:.3f}" for each in query.found[0]]
    assert names(query.found[0]) == ["copy.png", "near.jpg"]
    assert query.found[0][0].similarity == pytest.approx(1, abs=1e-3)
    assert (found.left_out, query.left_out) == (None, 0)
    assert tf.io.decode_png((tmp_path / "alike.png").read_bytes()).shape[1] == pytest.approx(3.55 * 120, abs=2)


@pytest.mark.slow
def test_patches_as_numpy_finds_them(toy_run, folder, tmp_path):
    """The patch that is asked for lies in a corner, outside of the square that pictures are looked at in.

    It takes seconds, as 650 patches go through the encoder twice.
    """
    given = {"query": folder / "b" / "01.png", "box": (3, 2, 9, 12), "count": 4, "patches": True, "random": False}
    found = tfssl.neighbours(toy_run, folder, tmp_path / "alike.html", **given)
    (query,) = found.queries
    assert (query.box, query.label) == ((1, 2, 12, 12), "b")  # the square around it
    image = np.asarray(Image.open(given["query"]))[1:13, 2:14]
    asked = embedded(toy_run, tf.cast(tf.image.resize(image[None], (32, 32)), tf.uint8))[0]
    places, parts = [], []
    source = open_source(folder)
    (batch,) = batches.plain(source, 96, 32)
    for path, image in zip(source.paths, batch["image"].numpy(), strict=True):
        for row, column in np.ndindex(5, 5):
            parts.append(image[16 * row : 16 * row + 32, 16 * column : 16 * column + 32])
            # The square of 40 pixels begins at 10 of 60; patches are 13 wide, and 40 / 6 from one to the next.
            places.append((Path(path).name, (round(40 * row / 6), 10 + round(40 * column / 6), 13, 13)))
    scores = dict(zip(places, (embedded(toy_run, np.stack(parts)) @ asked).tolist(), strict=True))
    expected: list[tuple[str, tuple[int, ...]]] = []
    for name, box in sorted(scores, key=lambda place: -scores[place]):
        if name not in [other for other, _ in expected] and name not in ("01.png", "copy.png"):
            expected.append((name, box))
    answers = query.found[0]
    np.testing.assert_allclose([each.similarity for each in answers], [scores[e] for e in expected[:4]], atol=0.01)
    for each in answers:
        name = Path(each.path).name
        name = "00.png" if name == "copy.png" else name
        assert each.similarity == pytest.approx(scores[name, each.box], abs=0.01)
    assert "come from a picture of its class" in str(found)
    assert 'class="whole"' in (tmp_path / "alike.html").read_text()


@pytest.mark.slow
def test_frames_of_other_recordings(audio_visual_run, tmp_path):
    """It takes seconds for the graph of a network."""
    source = open_source(CLIPS)
    given = {"count": 3, "frames": 2, "queries": 2, "limit": 20, "random": False}
    found = tfssl.neighbours(audio_visual_run, CLIPS, tmp_path / "alike.svg", **given)
    assert (found.items, found.unit, len(found.queries)) == (20, "frames", 2)
    chosen = batches.sample(source, 20, 0)
    passes = [np.concatenate([b["image"] for b in batches.plain(chosen, 32, 20, at=at)]) for at in (0.25, 0.75)]
    rows = np.stack([embedded(audio_visual_run, images) for images in passes], 1)
    counts = dict(zip(chosen.paths, chosen.frame_counts, strict=True))
    for query in found.queries:
        row = chosen.paths.index(query.path)
        assert query.frame == int(0.75 * counts[query.path])
        scores = rows @ rows[row, 1]
        scores[row] = -np.inf
        best = np.argsort(-scores.max(1))[:3]
        assert [each.path for each in query.found[0]] == [chosen.paths[each] for each in best]
        for each, number in zip(query.found[0], best, strict=True):
            assert each.frame == int((0.25, 0.75)[scores[number].argmax()] * counts[each.path])
            assert each.similarity == pytest.approx(scores[number].max(), abs=2e-3)


def test_shares_and_chance():
    labels, groups = np.array([0, 0, 1, 1, -1]), np.array([0, 1, 2, 2, 3])
    numbers = np.array([[2, 4], [0, 8], [0, 2], [3, measures.NONE], [0, 1]])  # of two places each
    shares = measures.alike(numbers, 2, labels, labels)
    np.testing.assert_array_equal(shares, [1 / 2, 1 / 2, 0, 0, np.nan])
    # Of three other groups one has the first one's class; the third's other piece is of its own recording.
    assert measures.chance(labels, groups, np.arange(5)) == pytest.approx((1 / 3 + 1 / 3 + 0 + 0) / 4)
    # A group of two counts once, whichever of it is met: half of the time it has the class.
    assert measures.chance(np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0])) == pytest.approx(1 / 2)
    assert measures.shared(numbers, numbers[:, ::-1]) == 1
    assert measures.shared(np.array([[1, 2]]), np.array([[2, 5]])) == 0.5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"to": "alike.txt"}, "to='alike.txt' is given, expected a file that ends in"),
        ({"count": 0}, "count=0 is given"),
        ({"stage": "stage9"}, "stage9 is given, .* has: stage1"),
        ({"count": 24}, "has 24 recordings, too few for --count 24: give more, or --count 23 at most"),
        ({"data": "toy:images(count=1, size=32)"}, r"has 1 picture, too few for --count 5: give more$"),
        ({"data": "toy:text(count=20)"}, "holds no pictures"),
        ({"patches": True}, "holds clips; give pictures"),
        ({"query": "letter.txt"}, r"--query letter.txt is no picture .*; give a picture"),
        ({"query": "nowhere.png"}, "nowhere.png does not exist; expected a picture"),
        ({"query": "cut.png"}, "--query cut.png cannot be decoded to its end"),
        ({"box": "1,2,3,4"}, "--box 1,2,3,4 is given without --query"),
        ({"size": 64}, "--size 64 is given, but .* takes 32 pixels"),
        ({"subject": "nothing"}, "nothing is no run"),
        (
            {"subject": "plain(width=2)", "size": 32, "report": True},
            r"--report is given, but plain\(width=2\) is no run",
        ),
        ({"beside": "nothing"}, "nothing is no run"),
    ],
)
def test_wrong_input(audio_visual_run, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    Path("letter.txt").write_text("Dear reader,")
    image = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 30, 3), np.uint8)).save(image, "PNG")
    Path("cut.png").write_bytes(image.getvalue()[:900])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=says):
        tfssl.neighbours(**{"subject": audio_visual_run, "data": CLIPS, "to": "alike.png", "frames": 1, **arguments})
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ("1,2,3", "--box 1,2,3 is given, expected TOP,LEFT,HEIGHT,WIDTH"),
        ("0,50,20,20", r"the box 0,50,20,20 is not inside of .*01.png, which is 40 pixels high and 60 wide"),
        (["0,0,9,9", "0,0,8,8"], "2 --box are given for 1 pictures of --query"),
    ],
)
def test_boxes_outside(toy_run, folder, box, says):
    with pytest.raises(UserError, match=says):
        tfssl.neighbours(toy_run, folder, "a.png", query=folder / "b" / "01.png", box=box, patches=True)


def test_a_box_is_of_a_patch(toy_run, folder):
    with pytest.raises(UserError, match="without --patches"):
        tfssl.neighbours(toy_run, folder, "a.png", query=folder / "b" / "01.png", box=(0, 0, 9, 9))


def test_features_of_several_frames_are_averaged(audio_visual_run):
    from tfssl.frozen import features
    from tfssl.pipelines import batches
    from tfssl.pipelines.sources.any_source import open_source

    source = open_source(CLIPS)
    model = features.stage_model(audio_visual_run.trunk(), 32)
    extractor = features.make_extractor(model, {"stage2": (1,)})
    mean = features.Reading(source, 32, 8, frames=3).features(extractor).stages["stage2"][1]
    frames = []
    for place in (2, 7, 12):  # of 15
        images = np.concatenate([b["image"] for b in batches.plain(source, 32, 24, at=(place + 0.01) / 15)])
        frames.append(model(images)["stage2"].numpy().mean((1, 2)))
    np.testing.assert_allclose(mean, np.mean(frames, 0), atol=2e-3)


def test_clips_are_probed_by_several_frames(audio_visual_run, tmp_path):
    train, test = "toy:clips(count=20, size=32, seconds=1.2)", "toy:clips(count=20, size=32, seconds=1.2, seed=1)"
    options = {"test": test, "protocols": "knn", "random": False, "report": False}
    run = shutil.copytree(audio_visual_run.folder, tmp_path / "run")  # which gets an evaluation, that exports go by
    found = tfssl.evaluate(run, train, frames=2, **options)
    assert (found.train_images, found.test_images, found.details["frames"]) == (20, 20, 2)
    with pytest.raises(UserError, match="--frames 2 is given, but toy:images"):
        tfssl.evaluate(run, "toy:images(count=40, size=32)", frames=2)
    with pytest.raises(UserError, match="frames=0 is given"):
        tfssl.evaluate(run, train, frames=0, **options)
