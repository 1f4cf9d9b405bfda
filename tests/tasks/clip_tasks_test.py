"""Tasks on clips: what is asked, what counts, and that nothing but the content tells the answer."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.pipelines.clip_records_test import RATE, jpeg, parsed, record
from tfssl.base.errors import UserError
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import parse_task
from tfssl.tasks.audio_visual import draw_pair, recolour
from tfssl.tasks.shuffle_and_learn import LEAST_GAPS

SIZE = 16


def numbered(count: int, step: int = 6) -> list[bytes]:
    """Frames of one grey each, by which they can be told: number k is 20 + step k."""
    return [jpeg(np.full((32, 32, 3), 20 + step * k, np.uint8)) for k in range(count)]


def batch(records: list[bytes]) -> dict[str, tf.Tensor]:
    return {"image": tf.zeros([len(records), SIZE, SIZE, 3], tf.uint8), "clip": tf.constant(records)}


def numbers(puzzle: tf.Tensor, step: int = 6) -> np.ndarray:
    """Which frames are shown, int [B, n]."""
    return np.round((puzzle.numpy().mean((2, 3, 4)) - 20) / step).astype(int)


def many(text: str, records: list[bytes], draws: int = 12):
    """Puzzles, answers and weights of several draws, joined."""
    task = parse_task(text)
    make = tf.function(lambda seed: task.puzzles(batch(records), seed))
    made = [make(tf.constant([number, 3])) for number in range(draws)]
    return [tf.concat(parts, 0) for parts in zip(*made, strict=True)]


def test_shuffle_and_learn_shows_frames_in_and_out_of_order():
    puzzle, answer, weight = many("shuffle_and_learn(gap=0.2)", [record(numbered(30))] * 16)
    shown, answer = numbers(puzzle), answer.numpy()
    assert weight.numpy().min() == 1
    first, middle, last = np.where((shown[:, 0] < shown[:, 2])[:, None], shown, shown[:, ::-1]).T
    np.testing.assert_array_equal(last - first, 4)  # b and d, two steps of two frames
    np.testing.assert_array_equal(middle[answer == 1] - first[answer == 1], 2)
    out = middle[answer == 0] - first[answer == 0]
    assert set(out) == {-2, 6}  # a, before b; e, after d
    share = answer.mean()
    assert abs(share - 0.25) < 3 * np.sqrt(0.25 * 0.75 / len(answer))
    backwards = (shown[:, 0] > shown[:, 2]).mean()
    assert abs(backwards - 0.5) < 3 * 0.5 / np.sqrt(len(answer))


def test_where_nothing_moves_or_frames_are_few_it_does_not_count():
    still, short, none = record(numbered(1) * 30), record(numbered(4)), record([], bytes(2000))
    moving = record(numbered(30))
    for text in ("shuffle_and_learn", "frame_order(frames=5)"):
        puzzle, _, weight = parse_task(text).puzzles(batch([still, moving, short, none]), tf.constant([0, 1]))
        assert weight.numpy().tolist() == [0, 1, 0, 0]
        assert puzzle.shape[0] == 4


@pytest.mark.parametrize("count", [3, 4])
def test_frame_order_shows_the_order_it_says(count):
    text = f"frame_order(frames={count}, gap=0.2)"
    task = parse_task(text)
    puzzle, answer, weight = many(text, [record(numbered(30))] * 16)
    shown = numbers(puzzle)
    assert weight.numpy().min() == 1
    ranks = shown.argsort(1).argsort(1)
    orders = np.array(task.orders)[answer.numpy()]
    forwards, backwards = (ranks == orders).all(1), (ranks == orders[:, ::-1]).all(1)
    assert (forwards ^ backwards).all()
    assert abs(forwards.mean() - 0.5) < 3 * 0.5 / np.sqrt(len(forwards))
    assert set(answer.numpy()) == set(range(task.choices))


@pytest.mark.parametrize("count", [3, 4, 5])
def test_an_order_and_its_reverse_are_one_class(count):
    orders = parse_task(f"frame_order(frames={count})").orders
    assert len(orders) == {3: 3, 4: 12, 5: 60}[count]
    both = set(orders) | {order[::-1] for order in orders}
    assert both == set(itertools.permutations(range(count)))


def noisy(count: int, number: int) -> bytes:
    """A clip whose frames are noise: of these no two places and no two channels look alike."""
    rng = np.random.default_rng(number)
    return record([jpeg(rng.integers(0, 256, (40, 56, 3), np.uint8)) for _ in range(count)], recording=f"n{number}")


@pytest.fixture(scope="module")
def noise():
    return [noisy(12, number) for number in range(8)]


def test_frame_order_cuts_each_frame_at_a_place_of_its_own(noise):
    task = parse_task("frame_order(jitter=20, colour='keep', gap=0.2)")
    assert [task.reach(size) for size in (16, 80, 96)] == [4, 20, 24]
    assert [parse_task("frame_order").reach(size) for size in (8, 16, 64, 80, 224)] == [1, 1, 4, 5, 14]
    # Nothing is cut of frames that are as much larger: it is the crop that the others are cut out of.
    whole = dataclasses.replace(task, jitter=0)
    larger = {"image": tf.zeros([8, SIZE + 8, SIZE + 8, 3], tf.uint8), "clip": tf.constant(noise)}
    make = tf.function(lambda seed: (task.puzzles(batch(noise), seed), whole.puzzles(larger, seed)))
    places = []
    for number in range(4):
        (shown, answer, weight), (crops, same_answer, same_weight) = make(tf.constant([number, 3]))
        np.testing.assert_array_equal(answer, same_answer)
        np.testing.assert_array_equal(weight, same_weight)
        windows = np.lib.stride_tricks.sliding_window_view(crops.numpy(), (SIZE, SIZE), (2, 3))  # [B, n, 9, 9, 3, S, S]
        found = (windows == shown.numpy().transpose(0, 1, 4, 2, 3)[:, :, None, None]).all((4, 5, 6))
        np.testing.assert_array_equal(found.sum((2, 3)), 1)
        places.append(np.stack(np.nonzero(found)[2:], 1).reshape(8, 4, 2))
    places = np.concatenate(places)  # [32, 4, 2], 0 to 8
    assert {*places[..., 0].flat} == {*places[..., 1].flat} == set(range(9))
    flat = places.reshape(-1, 2).astype(float)
    error = np.sqrt((9**2 - 1) / 12 / len(flat))
    assert np.abs(flat.mean(0) - 4).max() < 4 * error
    assert abs(np.corrcoef(flat.T)[0, 1]) < 4 / np.sqrt(len(flat))
    neighbours = np.corrcoef(places[:, 0].ravel(), places[:, 1].ravel())[0, 1]  # each frame by itself
    assert abs(neighbours) < 4 / np.sqrt(2 * len(places))


def test_frame_order_keeps_one_channel_of_each_frame(noise):
    shown, answer, _ = many("frame_order(gap=0.2)", noise, draws=6)
    colours, same_answer, _ = many("frame_order(gap=0.2, colour='keep')", noise, draws=6)
    np.testing.assert_array_equal(answer, same_answer)
    shown, colours = shown.numpy(), colours.numpy()
    np.testing.assert_array_equal(shown[..., 0], shown[..., 1])
    np.testing.assert_array_equal(shown[..., 0], shown[..., 2])
    kept = (shown == colours).all((2, 3))  # [48, 4, 3], which channel of a frame
    np.testing.assert_array_equal(kept.sum(2), 1)
    count = kept.sum((0, 1))
    assert np.abs(count - 64).max() < 4 * np.sqrt(192 * 2 / 9)
    channel = kept.argmax(2)
    alike = (channel[:, 1:] == channel[:, :1]).sum()
    assert abs(alike - 48) < 4 * np.sqrt(144 * 2 / 9)


def clips_that_last(seconds: list[float], rate: float = 12.5):
    """A source of records that are never read."""
    counts = np.array([round(each * rate) + 1 if each else 0 for each in seconds])
    source = open_source("toy:clips(count=2, size=16, seconds=0.2)")
    lengths = np.array(seconds, np.float32)
    return dataclasses.replace(source, frame_counts=counts, seconds=lengths, frame_rate=rate)


def test_shuffle_and_learn_knows_clips_that_are_too_short():
    task = parse_task("shuffle_and_learn")
    assert task.advice(64) == []
    assert task.advice(64, clips_that_last([3.3] * 3)) == []
    # At 12.5 frames a second a gap of 0.3 s is four frames.
    assert task.advice(64, clips_that_last([1.92, 1.92, 60, 0])) == [
        "clips last 1.9 s (median), and five frames 0.32 s apart span 1.3 s: when the middle frame was taken tells most"
        " of the answers; give clips of at least 3.2 s, or gap=0.16"
    ]
    assert parse_task("shuffle_and_learn(gap=0.16)").advice(64, clips_that_last([1.92] * 3)) == []
    assert task.advice(64, clips_that_last([0.4] * 3))[0].endswith("give clips of at least 3.2 s")
    assert task.advice(64, clips_that_last([0])) == []


@pytest.mark.parametrize("gaps", [5, LEAST_GAPS])
def test_what_the_time_of_the_middle_frame_tells_is_as_computed(gaps):
    """Who knows only that time is right in all of short clips, and in 2/3 where they last ten gaps of, here, 2 frames.

    In frames it is 1 - 9/26: c lies in 4 to 16, a in 0 to 12, e in 8 to 20, all places alike.
    """
    puzzle, answer, weight = many(
        "shuffle_and_learn(gap=0.2, positives=0.5)", [record(numbered(2 * gaps + 1))] * 32, draws=8
    )
    assert weight.numpy().min() == 1
    middle, truth = numbers(puzzle)[:, 1], answer.numpy()
    said = (middle >= 4) & (middle <= 2 * gaps - 4)
    found = ((said[truth == 1] == 1).mean() + (said[truth == 0] == 0).mean()) / 2
    expected = 1 if gaps == 5 else 1 - 9 / 26
    assert abs(found - expected) <= 3 * np.sqrt(expected * (1 - expected) / len(truth))


def sounding(number: int, seconds: float = 3.0, sound_start: float = 0.0) -> bytes:
    """A clip whose sound says when it is: sample k has the level k / samples; frames say it by their grey."""
    ramp = np.linspace(0, 30000, round(seconds * RATE), endpoint=False).astype("<i2")
    return record(numbered(round(seconds * 10)), ramp.tobytes(), sound_start, recording=f"r{number}")


def heard_at(sound: np.ndarray, seconds: float = 3.0) -> np.ndarray:
    """Seconds of the middle of windows of a ramp; loudness is changed by a tenth, so by the slope."""
    slope = np.polyfit(np.arange(sound.shape[1]) / RATE, sound.T, 1)
    return slope[1] / slope[0] + sound.shape[1] / RATE / 2


def audio_visual(text: str, records: list[bytes], draws: int = 8):
    task = parse_task(text)
    task = task.with_learned({"rate": [RATE]})
    make = tf.function(lambda seed: task.puzzles(batch(records), seed))
    made = [make(tf.constant([number, 3])) for number in range(draws)]
    return [
        {key: np.concatenate([each[0][key] for each in made]) for key in made[0][0]},
        np.concatenate([each[1] for each in made]),
        np.concatenate([each[2] for each in made]),
    ]


def test_sound_that_fits_is_that_around_the_frame():
    puzzle, answer, weight = audio_visual("audio_visual(seconds=0.5)", [sounding(k) for k in range(8)])
    assert weight.min() == 1
    assert answer.tolist() == [1, 0] * 32
    fits = answer == 1
    # Brightness and saturation are changed: the frame is found by the grid of its times.
    times = heard_at(puzzle["sound"][fits])
    np.testing.assert_allclose(times * 10, np.round(times * 10), atol=0.02)


def test_time_stamps_say_nothing():
    """Sound of positives and of negatives lies around times of frames: both on one grid, both spread alike."""
    puzzle, answer, _ = audio_visual("audio_visual(seconds=0.5)", [sounding(k) for k in range(16)], draws=16)
    times = heard_at(puzzle["sound"])
    off_grid = np.abs(times * 10 - np.round(times * 10))
    assert off_grid.max() < 0.02
    fit, other = times[answer == 1], times[answer == 0]
    assert abs(fit.mean() - other.mean()) < 3 * times.std() * np.sqrt(2 / len(fit))
    threshold = max(
        max(((times > cut) == (answer == 1)).mean(), ((times < cut) == (answer == 1)).mean())
        for cut in np.linspace(0.3, 2.7, 25)
    )
    assert threshold < 0.5 + 3.5 * 0.5 / np.sqrt(len(times))


def test_a_negative_of_the_same_clip_does_not_overlap():
    task = parse_task("audio_visual(seconds=0.5, negatives='shift')")
    assert str(task) == "audio_visual(seconds=0.5, negatives='shift')"
    clip = parsed(sounding(0))
    places = []
    for number in range(60):
        pair, found = draw_pair(clip, 0.5, RATE, tf.constant([number, 0]))
        assert found
        one, other = clip.times.numpy()[pair.numpy()]
        assert abs(one - other) >= 0.5 - 1e-4
        places.append(pair.numpy())
    assert abs(np.mean([one < other for one, other in places]) - 0.5) < 3 * 0.5 / np.sqrt(60)
    _, _, weight = audio_visual(str(task), [sounding(0, 0.6), sounding(0, 0.6)])
    assert weight.max() == 0  # too short for a second window


def test_moments_of_shifted_sound_are_those_of_sound_that_fits():
    puzzle, answer, weight = audio_visual(
        "audio_visual(seconds=0.5, negatives='shift')", [sounding(k, 1.6) for k in range(16)], draws=16
    )
    assert weight.min() == 1
    ends = np.abs(heard_at(puzzle["sound"]) - 0.8)  # from the middle: only ends have another moment far away
    error = ends.std() * np.sqrt(4 / len(ends))
    assert abs(ends[answer == 1].mean() - ends[answer == 0].mean()) < 3 * error


def test_negatives_are_found_beside_silent_clips():
    records = [sounding(0), record(numbered(30), recording="s"), sounding(2), sounding(3)] * 2
    _, answer, weight = audio_visual("audio_visual(seconds=0.5)", records)
    sounds = np.tile([1, 0, 1, 1] * 2, 8)
    np.testing.assert_array_equal(weight, sounds)
    assert set(answer[weight == 1]) == {0, 1}


def test_pieces_of_one_recording_are_no_negatives_of_each_other():
    _, answer, weight = audio_visual("audio_visual(seconds=0.5)", [sounding(7)] * 4)
    assert weight[answer == 0].max() == 0
    assert weight[answer == 1].min() == 1


def test_without_sound_it_does_not_count():
    silent = record(numbered(30), recording="s")
    _, _, weight = audio_visual("audio_visual(seconds=0.5)", [silent, sounding(1), silent, sounding(2)])
    assert weight.reshape(-1, 4)[:, [0, 2]].max() == 0


def test_colours_are_changed_about_grey():
    picture = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    for number in range(5):
        first, second = tf.random.stateless_uniform([2], [number, 7]).numpy()
        grey = picture.mean(-1, keepdims=True)
        expected = grey + (0.5 + first) * (picture - grey) + 64 * (second - 0.5)
        found = recolour(tf.constant(picture), tf.constant([number, 7])).numpy()
        assert np.abs(found - np.clip(expected, 0, 255)).max() <= 0.501


def test_a_clip_source_is_needed(tmp_path):
    import tfssl

    with pytest.raises(UserError, match="frame_order reads clip, toy:images"):
        tfssl.pretrain("toy:images(count=16, size=32)", "frame_order", size=32, batch_size=4, out=tmp_path / "run")


@pytest.mark.parametrize(
    "text",
    [
        "frame_order(frames=2)",
        "frame_order(gap=0)",
        "frame_order(jitter=21)",
        "frame_order(colour='grey')",
        "shuffle_and_learn(positives=1.0)",
        "shuffle_and_learn(hidden=0)",
        "audio_visual(fusion='sum')",
        "audio_visual(negatives='none')",
        "audio_visual(seconds=0.01)",
    ],
)
def test_wrong_settings_are_told(text):
    with pytest.raises(UserError, match="is given, expected"):
        parse_task(text)


def test_pictures_are_drawn(tmp_path):
    import tfssl

    data = "toy:clips(count=8, size=32, seconds=1.2)"
    shown = tfssl.show(
        data, "shuffle_and_learn, frame_order, audio_visual(seconds=0.5)", tmp_path / "clips.png", size=32, count=2
    )
    assert set(shown.files) == {"shuffle_and_learn", "frame_order", "audio_visual"}
