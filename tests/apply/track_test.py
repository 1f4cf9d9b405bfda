"""Following: masks and points that are carried from frame to frame, through the toy world and through films."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfssl
from tfssl.apply.mask_propagation import Follower, Following, Memory, in_cells
from tfssl.apply.track import drawn_over
from tfssl.base.errors import UserError
from tfssl.cli.main import main
from tfssl.evaluation.tracking import jaccard


@pytest.fixture
def run(tracking_run):
    return tracking_run


def told_apart(cell=4, waves=12):
    """Embeddings that tell cells apart by their mean lightness, whatever stands around."""
    seen = keras.Input((None, None, 1), dtype="uint8")
    mean = keras.layers.AveragePooling2D(cell)(keras.ops.cast(seen, "float32")) / 255
    turns = np.pi * np.arange(1, waves + 1, dtype=np.float32)
    outputs = 8 * keras.ops.concatenate([keras.ops.cos(mean * turns), keras.ops.sin(mean * turns)], -1)
    return keras.Model(seen, outputs)


def textured(cells=16, cell=4):
    """uint8 [S, S, 3]: cells of one grey each; no two are of the same."""
    greys = np.random.default_rng(0).permutation(cells * cells).reshape(cells, cells).astype(np.uint8)
    return greys.repeat(cell, 0).repeat(cell, 1)[..., None].repeat(3, 2)


def test_a_mask_that_moves_by_a_known_shift_is_followed():
    image, mask = textured(), np.zeros((64, 64), bool)
    mask[16:36, 8:32] = True
    follower = Follower(told_apart(), 64, Following(temperature=0.05))
    follower.start(image, mask[..., None].astype(np.float32))
    for number in range(1, 6):
        shift = (4 * number, 8 * number)
        found = follower.next(np.roll(image, shift, (0, 1)))[..., 0] >= 0.5
        assert jaccard(found, np.roll(mask, shift, (0, 1))) > 0.95
    assert jaccard(found, mask) < 0.3


def test_films_are_followed_at_their_own_size():
    image, mask = textured()[:32].repeat(3, 0).repeat(3, 1), np.zeros((96, 192), bool)
    mask[24:60, 48:120] = True
    follower = Follower(told_apart(), 32, Following(temperature=0.05))
    follower.start(image, mask[..., None].astype(np.float32))
    found = follower.next(np.roll(image, (12, 24), (0, 1)))
    assert found.shape == (96, 192, 1)
    inner = np.s_[24:84, 36:180]  # at the borders, where what came in is mixed with others, there is nothing to find
    assert jaccard(found[inner][..., 0] >= 0.5, np.roll(mask, (12, 24), (0, 1))[inner]) > 0.8
    with pytest.raises(ValueError, match="call start first"):
        Follower(told_apart(), 64).next(image)


def test_memory_is_that_of_a_loop():
    """The first frame and the newest ones, these within reach; the most similar count, by their softmax."""
    generator = np.random.default_rng(1)
    embedded = generator.normal(size=(5, 2, 3, 4, 6)).astype(np.float32)  # frames of two films of 3 x 4 cells
    labels = generator.uniform(size=(2, 3, 4, 2)).astype(np.float32)
    how = Following(recent=2, most=5, temperature=0.6, reach=1)
    memory = Memory(tf.constant(embedded[0]), tf.constant(labels), how)
    known = [labels]
    for number in range(1, 5):
        made = memory.step(tf.constant(embedded[number])).numpy()
        for film, y, x in [(0, 0, 0), (1, 2, 3), (0, 1, 2)]:
            scores = []
            for frame in [0, *range(max(1, number - 2), number)]:
                for v in range(3):
                    for u in range(4):
                        if frame == 0 or max(abs(v - y), abs(u - x)) <= 1:
                            score = embedded[number, film, y, x] @ embedded[frame, film, v, u] / np.sqrt(6) / 0.6
                            scores.append((score, *known[frame][film, v, u]))
            best = np.array(sorted(scores, reverse=True)[:5])
            shares = np.exp(best[:, 0] - best[:, 0].max())
            np.testing.assert_allclose(made[film, y, x], shares @ best[:, 1:] / shares.sum(), atol=1e-5)
        known.append(made)


def test_cells_are_means():
    labels = np.random.default_rng(2).uniform(size=(2, 12, 8, 3)).astype(np.float32)
    expected = labels.reshape(2, 3, 4, 2, 4, 3).mean((2, 4))
    np.testing.assert_allclose(in_cells(tf.constant(labels), 3, 2), expected, atol=1e-6)


def write_film(path, frames):
    import av

    with av.open(str(path), "w") as film:
        video = film.add_stream("mpeg4", rate=10, options={"qscale": "2"})
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        for frame in frames:
            film.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        film.mux(video.encode(None))


@pytest.fixture
def film(tmp_path):
    pytest.importorskip("av")
    from tfssl.pipelines.toy_world import clip

    scene = clip(4, seconds=0.5, size=64)
    write_film(tmp_path / "film.mp4", scene.frames[:, 8:56])
    Image.fromarray(np.uint8(255) * (scene.instances[0, 8:56] == 2)).save(tmp_path / "mask.png")
    return tmp_path / "film.mp4"


def test_command_writes_a_film(run, film, tmp_path, capsys):
    import av

    with pytest.raises(SystemExit) as end:
        main(["track", str(run.folder), str(film), "--mask", "8,8,20,24", "--to", str(tmp_path / "out.mp4"), "--json"])
    assert end.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert said["frames"] == 6
    assert said["shares"][0] == pytest.approx(20 * 24 / (48 * 64))
    with av.open(str(tmp_path / "out.mp4")) as made:
        shown = [frame.to_ndarray(format="rgb24") for frame in made.decode(made.streams.video[0])]
    assert len(shown) == 6
    assert shown[0].shape == (48, 64, 3)
    assert shown[0][8:28, 8:32, 0].mean() > shown[0][8:28, 8:32, 2].mean() + 40


def test_frames_and_masks_in_a_folder(run, film, tmp_path):
    made = tfssl.track(run, film, tmp_path / "mask.png", tmp_path / "out", verbose=0)
    assert made.frames == 6
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{kind}-{number:05d}.png" for kind in ("frame", "mask") for number in range(6)]
    given = np.asarray(Image.open(tmp_path / "mask.png"))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "mask-00000.png")), given)
    last = np.asarray(Image.open(tmp_path / "out" / "mask-00005.png"))
    assert last.shape == (48, 64)
    assert made.shares[-1] == pytest.approx((last == 255).mean())


def test_drawing_leaves_the_rest_as_it_was():
    image = np.random.default_rng(4).integers(0, 256, (20, 20, 3), np.uint8)
    inside = np.zeros((20, 20), bool)
    inside[4:12, 5:15] = True
    drawn = drawn_over(image, inside)
    np.testing.assert_array_equal(drawn[~inside], image[~inside])
    np.testing.assert_array_equal(drawn[4, 5:15], np.broadcast_to([255, 60, 20], (10, 3)))
    expected = np.round(image[8, 10] / 2 + np.array([255, 60, 20]) / 2)
    np.testing.assert_array_equal(drawn[8, 10], expected)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"mask": "0,0,60,10"}, "is not inside of .*film.mp4, which is 48 pixels high and 64 wide"),
        ({"mask": "nothing.png"}, "--mask nothing.png is given, expected a picture"),
        ({"mask": "empty.png"}, "the mask empty.png is empty"),
        ({"mask": "other.png"}, "other.png is 9 pixels high and 8 wide"),
        ({"mask": "text.png"}, "text.png cannot be read: is no picture"),
        ({"clip": "none.mp4"}, "none.mp4 does not exist; expected a film"),
        ({"clip": "text.png"}, "text.png has no pictures that can be decoded"),
        ({"clip": "text.png", "to": "folder"}, "text.png .*; expected a film"),
        ({"to": "film.mp4"}, "film.mp4 would be overwritten"),
        ({"recent": 0}, "recent=0 is given, expected at least 1"),
        ({"temperature": 0.0}, "temperature=0.0 is given, expected more than 0"),
    ],
)
def test_wrong_input(run, film, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((48, 64), np.uint8)).save("empty.png")
    Image.fromarray(np.full((9, 8), 255, np.uint8)).save("other.png")
    (tmp_path / "text.png").write_text("text")
    given = {"clip": "film.mp4", "mask": "8,8,20,24", "to": "out.mp4", "verbose": 0} | arguments
    with pytest.raises(UserError, match=says):
        tfssl.track(run, **given)
    assert not (tmp_path / "out.mp4").exists()


def test_a_run_without_tracking(toy_run, tmp_path):
    with pytest.raises(UserError, match="has no tracking, its tasks are: rotation"):
        tfssl.track(toy_run, "film.mp4", "0,0,1,1", tmp_path / "out.mp4")


def test_toy_clips_are_measured_by_another_command(run):
    with pytest.raises(UserError, match=r"expected a film; .* `tfssl evaluate-tracking RUN CLIPS`"):
        tfssl.track(run, "toy:clips(count=6)", "0,0,8,8", "out.mp4")
