"""`localise`: the map of where a sound comes from, over pictures and films."""

import numpy as np
import pytest
from PIL import Image

import tfssl
from tests.pipelines.recordings_test import tone, write
from tfssl.apply.localise import Localiser, heat
from tfssl.base.errors import UserError

av = pytest.importorskip("av")


@pytest.fixture
def run(localising_run):
    return localising_run


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    times = np.arange(12) / 10
    return write(tmp_path_factory.mktemp("clips") / "clip.mp4", times, size=(64, 48), sounds=[tone(1.2)])


def test_the_answer_is_the_largest_similarity(run):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    sounds = rng.normal(0, 0.1, (3, 8000)).astype("f4")
    maps = Localiser(run)(images, sounds)
    logits = run.solver("audio_visual")({"image": images, "sound": sounds}, training=False).numpy()
    assert maps.shape[0] == 3
    assert maps.shape[1] > 1
    np.testing.assert_allclose(maps.max((1, 2)), logits[:, 1], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(logits[:, 0], 0)


def test_heat_lies_over_the_square_in_the_middle():
    image = np.full((20, 30, 3), 100, np.uint8)
    values = np.zeros((4, 4), "f4")
    values[0, 0] = 1.0
    drawn = heat(image, values)
    np.testing.assert_array_equal(drawn[:, :5], 100)
    np.testing.assert_array_equal(drawn[:, 25:], 100)
    assert drawn[1, 6].sum() > drawn[18, 23].sum()


def test_a_film_keeps_its_frames_and_its_sound(run, clip, tmp_path):
    done = tfssl.localise(run, clip, tmp_path / "heat.mp4")
    assert done.frames == 12
    assert 0 <= done.fits <= 1
    with av.open(str(tmp_path / "heat.mp4")) as film:
        assert len(film.streams.audio) == 1
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(film.streams.video[0])]
    assert len(frames) == 12
    assert frames[0].shape == (48, 64, 3)
    assert frames[0][:, 8:56].std() > 3  # colours, where the film was grey


def test_a_picture_has_some_of_its_frames(run, clip, tmp_path):
    tfssl.localise(run, clip, tmp_path / "heat.png")
    with Image.open(tmp_path / "heat.png") as picture:
        assert picture.width > 1000


def test_wrong_input_is_told_and_nothing_is_written(run, clip, toy_run, tmp_path):
    silent = write(tmp_path / "silent.mp4", [0.0, 0.1])
    sound = write(tmp_path / "sound.wav", sounds=[tone(1.0)])
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    for arguments, line in (
        ((run, clip, tmp_path / "heat.gif"), "ends in .mp4 or .png"),
        ((run, silent, tmp_path / "heat.mp4"), "has no sound"),
        ((run, sound, tmp_path / "heat.mp4"), "has no film"),
        ((run, tmp_path / "broken.mp4", tmp_path / "heat.mp4"), "cannot be opened"),
        ((toy_run, clip, tmp_path / "heat.mp4"), "localise needs one that was trained on"),
        ((run, clip, clip), "would be overwritten"),
        (
            (run, "toy:clips(count=2)", tmp_path / "heat.mp4"),
            "expected a film; .* `tfssl evaluate-localisation RUN CLIPS`",
        ),
    ):
        with pytest.raises(UserError, match=line):
            tfssl.localise(*arguments)
    assert not list(tmp_path.glob("heat*"))
