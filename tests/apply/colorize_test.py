import json
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfssl
from tfssl.base.errors import UserError
from tfssl.cli.main import main
from tfssl.pipelines.clips import video_files
from tfssl.pipelines.ops import lab
from tfssl.tasks.parts.colourer import Colourer, _stretch, seen_sides

SETTINGS = {"size": 32, "epochs": 1, "batch_size": 8, "report": False, "verbose": 0}
TOY = "toy:images(count=48, size=32)"


@pytest.fixture(scope="module")
def runs(colour_run, tmp_path_factory):
    diverse, out = "colorization(diverse=3)", tmp_path_factory.mktemp("diverse") / "run"
    diverse_run = tfssl.pretrain(TOY, tasks=diverse, trunk="plain(width=4)", out=out, **SETTINGS)
    return {"colorization": colour_run, diverse: diverse_run}


@pytest.fixture
def pictures(tmp_path):
    """Three pictures in grey: wide, tall, smaller than the run's size."""
    rng = np.random.default_rng(0)
    shapes = {"wide": (50, 90), "tall": (80, 40), "small": (20, 24)}
    (tmp_path / "in" / "deep").mkdir(parents=True)
    found = {}
    for name, shape in shapes.items():
        found[name] = rng.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(found[name]).save(tmp_path / "in" / ("deep" if name == "tall" else "") / f"{name}.png")
    return found


def opened(path):
    return np.asarray(Image.open(path))


def lightness(rgb):
    return lab.rgb_to_lab(rgb).numpy()[..., 0]


def test_lightness_stays_and_colours_come(runs, pictures, tmp_path):
    made = tfssl.colorize(runs["colorization"], tmp_path / "in", tmp_path / "out", verbose=0)
    assert sorted(made.files) == sorted(map(str, (tmp_path / "in").rglob("*.png")))
    assert made.broken == {}
    for name, source in pictures.items():
        Image.open(tmp_path / "out" / ("deep" if name == "tall" else "") / f"{name}.png").verify()  # to its end
        found = opened(tmp_path / "out" / ("deep" if name == "tall" else "") / f"{name}.png")
        assert found.shape == (*source.shape, 3)
        grey = np.broadcast_to(source[..., None], found.shape)
        assert np.abs(lightness(found) - lightness(grey)).max() < 0.5
        assert np.ptp(found, axis=-1).max() > 2
    names = sorted(path.name for path in (tmp_path / "out").rglob("*.*"))
    assert names == ["small.png", "tall.png", "wide.png"]


def test_colours_are_what_the_network_says(runs):
    """A picture of the run's own size: the annealed mean of its own network's answer at every fourth pixel."""
    run = runs["colorization"]
    task, source = run.tasks()[0], np.random.default_rng(1).integers(60, 200, [32, 32, 3], dtype=np.uint8)
    # Flat, so that the resizing of colours and the limits of sRGB change nothing.
    source[:] = 128
    prediction = run.solver("colorization")(lab.lightness(source[None]), training=False)
    middle = task.ab(prediction)[0, 3:5, 3:5].mean((0, 1))
    found = lab.rgb_to_lab(Colourer(run, task)(source)).numpy()[15:17, 15:17, 1:].mean((0, 1))
    np.testing.assert_allclose(found, middle, atol=1.5)


def test_colours_of_the_source_are_not_looked_at(runs):
    """Red and grey of one lightness are coloured alike."""
    run = runs["colorization"]
    painter = Colourer(run, run.tasks()[0])
    red = np.full((40, 40, 3), [200, 40, 40], np.uint8)
    level = int(
        np.abs(lightness(np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1)) - lightness(red[:1, 0])).argmin()
    )
    assert np.abs(painter(red).astype(int) - painter(np.full((40, 40, 3), level, np.uint8))).max() <= 4


def test_large_pictures_are_coloured_in_bands(runs, monkeypatch):
    run = runs["colorization"]
    source = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    whole = Colourer(run, run.tasks()[0])(source)
    monkeypatch.setattr("tfssl.tasks.parts.colourer.BAND", 900)
    np.testing.assert_array_equal(Colourer(run, run.tasks()[0])(source), whole)


def test_several_draws(runs, pictures, tmp_path):
    run = runs["colorization(diverse=3)"]
    picture = tmp_path / "in" / "wide.png"
    made = tfssl.colorize(run, picture, tmp_path / "out", draws=3, verbose=0)
    names = [f"wide-{number}.png" for number in (1, 2, 3)]
    assert made.files == {str(picture): [tmp_path / "out" / name for name in names]}
    found = [opened(tmp_path / "out" / name).astype(int) for name in names]
    assert np.abs(found[0] - found[1]).max() > 0
    assert np.abs(found[1] - found[2]).max() > 0
    again = tfssl.colorize(run, picture, tmp_path / "again", draws=3, verbose=0)
    np.testing.assert_array_equal(opened(again.files[str(picture)][2]), found[2])


def test_lower_temperature_is_more_colourful(runs, pictures, tmp_path):
    strengths = []
    for temperature in (0.1, 3.0):
        made = tfssl.colorize(
            runs["colorization"], tmp_path / "in" / "wide.png", tmp_path / "out", temperature=temperature, verbose=0
        )
        found = opened(next(iter(made.files.values()))[0])
        strengths.append(np.abs(lab.rgb_to_lab(found).numpy()[..., 1:]).mean())
    assert strengths[0] > strengths[1]


def test_orientation_is_honoured(runs, tmp_path):
    source = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(source).save(tmp_path / "turned.png", exif=exif)
    made = tfssl.colorize(runs["colorization"], tmp_path / "turned.png", tmp_path / "out", verbose=0)
    found = opened(next(iter(made.files.values()))[0])
    upright = np.rot90(source, -1)[..., None].repeat(3, 2)
    assert np.abs(lightness(found) - lightness(upright)).max() < 0.5


def test_broken_pictures_are_named(runs, pictures, tmp_path):
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    half = (tmp_path / "in" / "wide.png").read_bytes()
    (tmp_path / "in" / "half.png").write_bytes(half[: len(half) // 2])
    made = tfssl.colorize(runs["colorization"], tmp_path / "in", tmp_path / "out", verbose=0)
    assert len(made.files) == 3
    assert sorted(path.rsplit("/", 1)[1] for path in made.broken) == ["broken.png", "half.png"]
    assert "left out" in str(made)
    assert not (tmp_path / "out" / "half.png").exists()
    with pytest.raises(UserError, match="none of 1 pictures"):
        tfssl.colorize(runs["colorization"], tmp_path / "in" / "half.png", tmp_path / "out", verbose=0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"draws": 2}, "has one colouring"),
        ({"draws": 0}, "expected at least 1"),
        ({"temperature": 0.0}, "expected more than 0"),
        ({"pictures": "nowhere"}, "nowhere does not exist"),
        ({"pictures": []}, "no picture"),
        ({"out": "in"}, "would be overwritten"),
    ],
)
def test_wrong_input(runs, pictures, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    given = {"pictures": "in", "out": "out", "verbose": 0} | arguments
    with pytest.raises(UserError, match=says):
        tfssl.colorize(runs["colorization"], **given)
    assert not (tmp_path / "out").exists()


def test_temperature_needs_bins_and_colorization_must_be_there(runs, toy_run, pictures, tmp_path):
    with pytest.raises(UserError, match="no bins"):
        tfssl.colorize(runs["colorization(diverse=3)"], tmp_path / "in", tmp_path / "out", temperature=1.0)
    with pytest.raises(UserError, match="has no colorization, its tasks are: rotation"):
        tfssl.colorize(toy_run, tmp_path / "in", tmp_path / "out")


def test_command(runs, pictures, tmp_path, capsys):
    run, folder = runs["colorization"], tmp_path / "in"
    with pytest.raises(SystemExit) as end:
        main(["colorize", str(run.folder), str(folder), "--out", str(tmp_path / "out"), "--json"])
    assert end.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert said["count"] == 3
    assert all(len(paths) == 1 for paths in said["files"].values())


def test_trunk_of_a_fixed_size(tmp_path):
    pixels = keras.Input((32, 32, 3))
    body = keras.Model(pixels, keras.layers.Conv2D(8, 3, 4, "same", name="stage1")(pixels))
    run = tfssl.pretrain(TOY, tasks="colorization", trunk=body, out=tmp_path / "run", **SETTINGS)
    assert Colourer(run, run.tasks()[0])(np.zeros((30, 50, 3), np.uint8)).shape == (30, 50, 3)


@pytest.mark.parametrize(
    ("shape", "sides"), [((480, 640), (64, 96)), ((20, 24), (64, 64)), ((64, 64000), (32, 8096)), ((70, 64), (64, 64))]
)
def test_seen_sides(shape, sides):
    assert tuple(seen_sides(*shape, 64).numpy()) == sides


def test_stretched_is_bilinear():
    values = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
    expected = tf.image.resize(values, [23, 40]).numpy()
    wide = tf.image.resize(values, [5, 40])
    np.testing.assert_allclose(_stretch(wide, 23, tf.range(23)), expected, atol=1e-5)
    np.testing.assert_allclose(_stretch(wide, 23, tf.range(7, 11)), expected[7:11], atol=1e-5)


def write_film(path, frames, rate=10, sound=True):
    """A film in MPEG-4 with a second of a tone; frames uint8 [N, H, W] in grey."""
    import av

    with av.open(str(path), "w") as film:
        video = film.add_stream("mpeg4", rate=rate, options={"qscale": "2"})
        video.height, video.width = frames.shape[1:]
        video.pix_fmt = "yuv420p"
        tone = film.add_stream("aac", rate=16000) if sound else None
        if tone is not None:
            wave = np.sin(np.arange(16384) / 20).astype(np.float32)[None]
            part = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            part.sample_rate, part.pts = 16000, 0
            film.mux(tone.encode(part))
            film.mux(tone.encode(None))
        for frame in frames:
            grey = np.ascontiguousarray(frame[..., None].repeat(3, 2))
            film.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        film.mux(video.encode(None))


def test_films_frame_by_frame(runs, tmp_path):
    av = pytest.importorskip("av")
    y, x = np.mgrid[:48, :64]
    frames = np.stack([np.clip(100 + 60 * np.sin((x + 4 * number) / 9) + y, 0, 255) for number in range(9)])
    (tmp_path / "in").mkdir()
    write_film(tmp_path / "in" / "old.avi", frames.astype(np.uint8))
    (tmp_path / "in" / "broken.mp4").write_bytes(b"no film")
    made = tfssl.colorize(runs["colorization"], tmp_path / "in", tmp_path / "out", verbose=0)
    assert list(made.files.values()) == [[tmp_path / "out" / "old.mp4"]]
    assert len(made.broken) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["old.mp4"]
    with av.open(str(tmp_path / "out" / "old.mp4")) as film:
        assert film.streams.audio[0].codec.name == "aac"
        found = list(film.decode(film.streams.video[0]))
    with av.open(str(tmp_path / "in" / "old.avi")) as film:
        frames = list(film.decode(film.streams.video[0]))
    assert len(found) == len(frames) == 9
    np.testing.assert_allclose([frame.time for frame in found], [frame.time for frame in frames], atol=1e-3)
    before = [frame.to_ndarray(format="rgb24") for frame in frames]
    painter = Colourer(runs["colorization"], runs["colorization"].tasks()[0])
    for frame, source in zip(found, before, strict=True):
        shown = frame.to_ndarray(format="rgb24")
        assert np.abs(lightness(shown) - lightness(source)).mean() < 2
        wanted = lab.rgb_to_lab(painter(source)).numpy()[..., 1:].mean((0, 1))
        np.testing.assert_allclose(lab.rgb_to_lab(shown).numpy()[..., 1:].mean((0, 1)), wanted, atol=2)


def test_films_of_odd_size(tmp_path):
    pytest.importorskip("av")
    write_film(tmp_path / "old.avi", np.full((4, 32, 32), 90, np.uint8), sound=False)
    seen = []

    def cropped(image, time):
        return image[:31, :29]

    video_files.change(tmp_path / "old.avi", tmp_path / "new.mp4", cropped, lambda *done: seen.append(done))
    assert seen == [(number, 4) for number in (1, 2, 3, 4)]


def test_films_without_pyav(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'tfssl\[video\]'"):
        video_files.change(tmp_path / "old.mp4", tmp_path / "new.mp4", lambda image, time: image, lambda *done: None)
