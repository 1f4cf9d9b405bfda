"""Reading clips in the graph: records by number, frames by need, sound by time."""

import hashlib
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfssl.base.errors import UserError
from tfssl.pipelines import batches
from tfssl.pipelines.clips import clip_records, motion
from tfssl.pipelines.clips.record import of_piece, read, write
from tfssl.pipelines.clips.recordings import Piece
from tfssl.pipelines.sources.any_source import open_source, open_splits
from tfssl.pipelines.sources.tfrecords import index_records, read_record

RATE = 16000
SEED = tf.constant([1, 2])


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def pictures(count: int, height: int = 40, width: int = 56) -> list[np.ndarray]:
    """Smooth ones: JPEG keeps them to a level or two."""
    y, x = np.mgrid[:height, :width]
    return [
        np.stack([128 + 100 * np.sin(x / 9 + k), 100 + 2 * y, 20 + 40 * k + 0 * x], -1).clip(0, 255).astype(np.uint8)
        for k in range(count)
    ]


def shrunk(frame: bytes) -> np.ndarray:
    """A thumbnail, of whatever can be opened."""
    try:
        return np.asarray(Image.open(io.BytesIO(frame)).resize((16, 16), Image.Resampling.BOX))
    except OSError:
        return np.zeros((16, 16, 3), np.uint8)


def parsed(record: bytes) -> clip_records.Clip:
    return clip_records.parse(tf.constant([record]))[0]


def record(frames, sound=b"", sound_start=0.0, rate=10.0, start=0.0, recording="a"):
    small = np.array([shrunk(frame) for frame in frames], np.uint8)
    times = start + np.arange(len(frames)) / rate
    return write(of_piece(Piece(frames, small, times, np.frombuffer(sound, "<i2"), sound_start), 1, recording, 0))


@pytest.fixture(scope="module")
def toy():
    return open_source("toy:clips(count=12, size=48, seconds=1.2)")


def test_a_record_has_the_fields_of_the_data_sets_that_were_ingested_before():
    small = np.arange(2 * 16 * 16 * 3).reshape(2, 16, 16, 3).astype(np.uint8)
    piece = Piece([b"one", b"two"], small, np.array([0.5, 0.75], np.float32), np.array([1, -2], np.int16), 0.25)
    data = write(of_piece(piece, 3, "kind/film.mp4", 2))
    feature = tf.train.Example.FromString(data).features.feature
    lists = {name: getattr(each, each.WhichOneof("kind")) for name, each in feature.items()}
    assert {name: (type(values).__name__, list(values.value)) for name, values in lists.items()} == {
        "frames": ("BytesList", [b"one", b"two"]),
        "thumbnails": ("BytesList", [small.tobytes()]),
        "frame_times": ("FloatList", [0.5, 0.75]),
        "sound": ("BytesList", [b"\x01\x00\xfe\xff"]),
        "sound_start": ("FloatList", [0.25]),
        "label": ("Int64List", [3]),
        "recording": ("BytesList", [b"kind/film.mp4"]),
        "piece": ("Int64List", [2]),
    }
    assert write(read(data)) == data
    # The same in each process: a run on toy clips that goes on compares them by a hash.
    assert hashlib.sha256(data).hexdigest() == "8b2e02e5fd44ee4cf4ac0bff8bc799903d8c59be3f09786e5aaa788588fdacbd"


def test_what_a_record_lacks_is_read_as_empty():
    feature = {"frames": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"one"]))}
    clip = parsed(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    assert clip.frames(tf.constant([0])).numpy().tolist() == [b"one"]
    assert (clip.sound.numpy(), clip.samples.numpy(), clip.recording.numpy()) == (b"", 0, b"")


@pytest.mark.smoke
def test_records_are_read_from_anywhere_in_a_file(tmp_path):
    rng = np.random.default_rng(0)
    data = [rng.bytes(int(size)) for size in (10, 0, 5000, 70000, 3)]
    for name, part in (("a", data[:3]), ("b", data[3:])):
        with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
            for each in part:
                writer.write(each)
    files = [tmp_path / "a", tmp_path / "b"]
    index = index_records(files)
    assert index.shape == (5, 3)
    read = tf.function(lambda place: read_record(tf.constant(list(map(str, files)))[place[0]], place[1], place[2]))
    assert [read(tf.constant(place)).numpy() for place in index[::-1]] == data[::-1]


def test_a_file_that_was_cut_off_is_told(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "a")) as writer:
        writer.write(b"x" * 100)
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[:-7])
    with pytest.raises(UserError, match="ends inside of a record"):
        index_records([tmp_path / "a"])


def test_centre_crop_is_the_square_in_the_middle():
    frames = pictures(3)
    made = clip_records.decode_frames(tf.constant([jpeg(frame) for frame in frames]), 40, None).numpy()
    for one, frame in zip(made, frames, strict=True):
        assert np.abs(one.astype(int) - frame[:, 8:48].astype(int)).mean() < 3


def test_all_frames_of_a_clip_are_cropped_and_flipped_alike():
    frame = jpeg(pictures(1)[0])
    crops = {}
    for number in range(12):
        made = clip_records.decode_frames(tf.constant([frame, frame, frame]), 24, tf.constant([number, 0])).numpy()
        assert (made == made[:1]).all()
        crops[number] = made[0]
    assert len({crop.tobytes() for crop in crops.values()}) >= 10
    # Green grows downwards in the pictures, whatever the crop; red tells left from right.
    assert all(crop[-1, :, 1].mean() > crop[0, :, 1].mean() for crop in crops.values())


def test_only_the_frames_that_are_asked_for_are_decoded():
    frames = [jpeg(pictures(1)[0]), b"this is no picture", jpeg(pictures(2)[1])]
    clip = parsed(record(frames))
    made = clip_records.decode_frames(clip.frames(tf.constant([0, 2])), 16, None)
    assert made.shape == (2, 16, 16, 3)


def test_flash_and_click_stay_together():
    # Light at 0.7 s of the recording's clock, a click at the same time; the sound begins 0.25 s after the film.
    dark, light = (np.full((32, 32, 3), level, np.uint8) for level in (10, 250))
    frames = [jpeg(light if number == 7 else dark) for number in range(20)]
    sound = np.zeros(2 * RATE, np.int16)
    sound[round((0.7 - 0.25) * RATE)] = 30000
    clip = parsed(record(frames, sound.astype("<i2").tobytes(), 0.25))
    flash = int(
        np.argmax([clip_records.decode_frames(clip.frames(k)[None], 8, None).numpy().mean() for k in range(20)])
    )
    heard = clip_records.waveform(
        clip.sound, clip.sound_start, clip.times[flash] - 0.05, round(0.1 * RATE), RATE
    ).numpy()
    assert abs(int(np.argmax(heard)) - 0.05 * RATE) <= 1
    assert heard.max() == pytest.approx(30000 / 32768)


@pytest.mark.parametrize("start", [-0.5, -0.1, 0.0, 0.33, 0.9, 2.0])
def test_sound_outside_of_the_clip_is_silence(start):
    rng = np.random.default_rng(0)
    sound = rng.integers(-32768, 32767, RATE, dtype=np.int16)
    clip = parsed(record([], sound.astype("<i2").tobytes(), 0.0))
    found = clip_records.waveform(clip.sound, clip.sound_start, start, 4000, RATE).numpy()
    places = round(start * RATE) + np.arange(4000)
    inside = (places >= 0) & (places < RATE)
    np.testing.assert_array_equal(found, np.where(inside, sound[places.clip(0, RATE - 1)] / 32768, 0).astype("f4"))


def test_motion_is_the_mean_difference_of_neighbours():
    rng = np.random.default_rng(0)
    small = rng.uniform(size=(5, 4, 4, 3)).astype("f4")
    expected = [np.abs(small[k + 1] - small[k]).mean() for k in range(4)]
    np.testing.assert_allclose(motion.motion(tf.constant(small)), expected, rtol=1e-5)


def test_windows_lie_where_something_moves():
    still, moving = pictures(1)[0], pictures(6)
    frames = [jpeg(still)] * 20 + [jpeg(frame) for frame in moving] + [jpeg(moving[-1])] * 20
    clip = parsed(record(frames))
    draw = tf.function(lambda seed: motion.window(clip, 3, 0.2, seed).places)
    places = np.stack([draw(tf.constant([number, 7])).numpy() for number in range(40)])
    assert (np.diff(places) == 2).all()
    moved = (places[:, 0] <= 25) & (places[:, -1] >= 20)
    assert moved.mean() > 0.9


def test_a_short_clip_gets_a_window_that_does_not_count():
    clip = parsed(record([jpeg(frame) for frame in pictures(2)]))
    found = motion.window(clip, 3, 0.2, SEED)
    assert not found.valid
    assert found.places.numpy().max() <= 1


def test_toy_clips_are_a_source(toy):
    assert (toy.count, toy.items, toy.holds) == (12, "clips", ("image", "clip", "sound"))
    assert toy.frame_counts.tolist() == [15] * 12
    assert sorted(set(toy.labels.tolist())) == list(range(10))
    part = toy.subset(np.array([3, 5]), "part")
    assert part.paths == ["toy#3#0", "toy#5#0"]
    assert part.fingerprint != toy.fingerprint
    assert part.contents.tolist() == toy.contents[[3, 5]].tolist()
    assert len(set(toy.contents.tolist())) == len(set(toy.groups.tolist())) == 12
    assert part.reader().records(tf.constant([1], tf.int64))[0] == toy.encoded[5]


def test_batches_of_clips_have_a_frame_and_the_record(toy):
    batch = next(iter(batches.training(toy, 32, 4, seed=3, start=5)))
    again = next(iter(batches.training(toy, 32, 4, seed=3, start=5)))
    assert batch["image"].shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(batch["image"], again["image"])
    numbers = batches.order(12, 4, 3, tf.constant(5)).numpy()
    assert batch["clip"].numpy().tolist() == [toy.encoded[number] for number in numbers]


def test_plain_gives_the_middle_frame_and_the_middle_sound(toy):
    (batch,) = batches.plain(toy, 48, 12)
    clip = parsed(toy.encoded[4])
    np.testing.assert_array_equal(batch["image"][4], clip_records.decode_frames(clip.frames(7)[None], 48, None)[0])
    assert batch["valid"].numpy().all()
    (heard,) = batches.plain_sound(toy, 8000, 12)
    sound = np.frombuffer(clip.sound.numpy(), "<i2") / 32768
    middle = (len(sound) - 8000) // 2
    np.testing.assert_array_equal(heard["sound"][4], sound[middle : middle + 8000].astype("f4"))


def test_labelled_clips_are_divided_within_classes(toy):
    train, test, note = open_splits("toy:clips(count=40, size=16, seconds=0.2)")
    assert (train.count, test.count) == (30, 10)  # 4 of each class: 3 and 1
    assert "80/20" in note


@pytest.mark.parametrize("text", ["toy:clips(count=0)", "toy:clips(size=4)", "toy:clips(frames=3)", "toy:sounds"])
def test_wrong_toy_clips_are_told(text):
    with pytest.raises(UserError):
        open_source(text)
