"""Tasks on clips are clean on the toy world, and every leak that is put back is found by the probe that is for it."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.pipelines.clip_records_test import RATE, jpeg, record
from tests.support import leaky_tasks
from tfssl.auditing import marked_clips, nuisances, prediction, samples, statistics, times
from tfssl.auditing.results import CONTENT, FAULT, LEAK, NONE, OK
from tfssl.base.errors import UserError
from tfssl.pipelines.clips import clip_records
from tfssl.pipelines.sources.any_source import open_source

SIZE, COUNT = 32, 240


@pytest.fixture(scope="module")
def source():
    return open_source(f"toy:clips(count={COUNT}, size=32, seconds=1.6)")


def found(source, task, count=COUNT):
    return tfssl.audit(source, task, size=SIZE, count=count, verbose=0)


def alone(audit, name):
    """The audit of one task of several."""
    probes = [probe for probe in audit.probes if probe.task.partition("(")[0] == name]
    assert probes
    return dataclasses.replace(audit, probes=probes)


CLEAN = {
    "audio_visual(seconds=0.5)": {"time stamp of the sound": OK, "sound alone": OK, "picture alone": OK},
    "shuffle_and_learn(gap=0.2)": {"answers balanced": OK, "order of frames is the answer": OK},
    "frame_order(frames=3)": {"answers balanced": OK, "order of frames is the answer": OK},
    "frame_filling": {"a frame is hidden": OK, "answers balanced": NONE},
    "tracking": {"a frame is hidden": OK, "answers balanced": NONE},
}


@pytest.fixture(scope="module")
def real(source):
    """An audit of all real tasks on clips: clips are read once for all."""
    return found(source, ", ".join(CLEAN), 120)


def check_clean(audit, asked):
    assert audit.ok, str(audit)
    verdicts = {probe.name: probe.verdict for probe in audit.probes}
    assert verdicts["same seed, same puzzle"] == verdicts["graph equals eager"] == verdicts["epochs differ"] == OK
    assert {name: verdicts[name] for name in asked} == asked, str(audit)


@pytest.mark.parametrize("task", CLEAN)
def test_real_tasks_are_clean(real, task):
    check_clean(alone(real, task.partition("(")[0]), CLEAN[task])


def test_sound_that_is_shifted_is_clean(source):
    audit = found(source, "audio_visual(seconds=0.5, negatives='shift')", 120)
    check_clean(audit, {"time stamp of the sound": OK, "sound alone": OK})


LEAKS = [
    ("SoundFromAnywhere", {"seconds": 0.5}, "time stamp of the sound", LEAK),
    ("OtherSoundFromTheBeginning", {"seconds": 0.5}, "time stamp of the sound", LEAK),
    ("LouderWhereItFits", {"seconds": 0.5}, "loudness", LEAK),
    ("MiddleEncodedTwice", {"gap": 0.2}, "block phase, neutral", LEAK),
    ("OrdersLost", {"frames": 3}, "order of frames is the answer", FAULT),
    ("MiddleShinesThrough", {}, "a frame is hidden", LEAK),
    ("ColoursToldToo", {}, "a frame is hidden", LEAK),
]


@pytest.fixture(scope="module")
def leaks(source):
    """An audit of all tasks that leak."""
    return found(source, [getattr(leaky_tasks, leak)(**settings) for leak, settings, *_ in LEAKS])


@pytest.mark.parametrize(("leak", "probe", "verdict"), [(leak, *asked) for leak, _, *asked in LEAKS])
def test_leaks_are_found(leaks, leak, probe, verdict):
    audit = alone(leaks, leak)
    assert not audit.ok
    assert audit.verdict(probe) == verdict, str(audit)


def test_pieces_of_one_recording_are_not_learned_from_and_asked_about():
    clip_source = open_source("toy:clips(count=44, size=16, seconds=0.2)")
    pieces = dataclasses.replace(clip_source, origins=[f"film{number // 6}" for number in range(44)])
    recording_of = {record: number // 6 for number, record in enumerate(clip_source.encoded)}
    batches = samples.of_clips(pieces, 16, 44, 4, seed=1)
    found = [{recording_of[record] for record in batch["clip"].numpy()} for batch in batches]
    assert len(found) == int(batches.cardinality()) == 10
    assert not set().union(*found[::2]) & set().union(*found[1::2])
    assert len({record for batch in batches for record in batch["clip"].numpy()}) == 40
    with pytest.raises(UserError, match="44 clips, most of them of one recording"):
        samples.of_clips(dataclasses.replace(clip_source, origins=["film"] * 44), 16, 44, 4, seed=1)


def test_what_is_small_is_kept_from_the_first_whole_pass_on(monkeypatch):
    made = []

    def make():
        for number in range(3):
            made.append(number)
            yield {"image": np.zeros(10, np.uint8), "clip": np.array([b"ab"], object)}

    for memory, passes in ((3 * 12, 1), (3 * 12 - 1, 2)):
        monkeypatch.setattr(samples, "MEMORY", memory)
        kept = samples.Kept(make)
        next(iter(kept))
        assert made == [0]
        assert [len(list(kept)), len(list(kept))] == [3, 3]
        assert len(made) == 1 + 3 * passes
        made.clear()


def test_halves_are_told_by_numbers_of_batches_where_one_has_no_questions():
    """Or parts that share a recording would be learned from and asked about."""
    empty = np.zeros(0, int)
    _, groups = statistics.join([np.array([1, 0]), empty, np.array([0, 1])])
    assert groups.tolist() == [0, 0, 2, 2]

    class Batch:
        def __init__(self, right):
            self.right = right

        @property
        def questions(self):
            parts = np.zeros((len(self.right), 1, 8, 8, 3), np.uint8)
            return SimpleNamespace(parts=parts, right=self.right, sound=None)

    _, right, groups = prediction.measure([Batch(np.array([1, 0])), Batch(empty), Batch(np.array([0, 1]))])
    assert (right.tolist(), groups.tolist()) == ([1, 0, 0, 1], [0, 0, 2, 2])


def test_the_time_of_a_frame_is_said_without_a_verdict(source):
    # The middle one of three in order is never the first of so short a clip: the paper's scheme, not a leak of it.
    audit = found(source, "shuffle_and_learn(gap=0.3)")
    assert audit.verdict("time of frame 2 of 3 alone") == CONTENT
    assert audit.ok, str(audit)


def test_marked_sound_says_where_it_was_cut():
    silent = record([], b"")
    loud = np.full(RATE, 9000, "<i2").tobytes()
    marked = marked_clips.MarkedSound(np.array([record([], loud, 0.5), silent, record([], loud)], object))
    given = clip_records.parse(tf.constant(marked.records))
    waves = [
        0.9 * clip_records.waveform(given[row].sound, given[row].sound_start, start, 4000, RATE).numpy()
        for row, start in ((0, 0.75), (2, 0.1), (0, 0.4))
    ]
    row, first, sure = marked.places_of(np.stack([*waves, np.ones(4000, np.float32)]))
    assert sure.tolist() == [True, True, True, False]
    assert row[:3].tolist() == [0, 2, 0]
    assert first[:3].tolist() == [0.25 * RATE, 0.1 * RATE, -0.1 * RATE]


def test_stamps_tell_grids_apart():
    frames = [jpeg(np.zeros((16, 16, 3), np.uint8))] * 10  # every 0.1 s
    marked = np.array([record(frames, np.ones(RATE, "<i2").tobytes())], object)
    first = np.array([0.2 * RATE, 0.22 * RATE], int)
    stamps = times.stamps_of(marked, np.zeros(2, int), first, np.ones((2, 1600), np.float32), RATE)
    np.testing.assert_allclose(stamps[:, 0], [0, 0.2], atol=1e-4)  # distances of frames after the nearest
    np.testing.assert_allclose(stamps[:, 10], [0.5, -0.3], atol=1e-4)  # its middle: 0.25 s and 0.27 s
    assert stamps.shape[1] == 3 * 10 + 10 + 14 + 2


def test_frozen_clips_do_not_move_and_numbered_ones_say_which_frame_it_is():
    frames = [jpeg(np.full((16, 24, 3), 20 * k, np.uint8)) for k in range(7)]
    made = np.array([record(frames, b"ab", recording="x"), record([], b"cd")], object)
    assert marked_clips.frame_count(made) == 7
    frozen, before = (clip_records.parse(tf.constant(each)) for each in (marked_clips.frozen(made), made))
    assert set(frozen.jpegs.numpy()) == {frames[3]}
    for part in ("times", "splits", "thumbnails", "sound", "recording"):
        np.testing.assert_array_equal(getattr(frozen, part), getattr(before, part))
    numbered = clip_records.parse(tf.constant(marked_clips.numbered(made, 7)))
    pictures = np.stack([tf.io.decode_jpeg(frame).numpy() for frame in numbered.jpegs.numpy()])
    assert pictures.shape == (7, 16, 24, 3)
    numbers, sure = marked_clips.numbers_of(pictures[None], 7)
    assert sure.all()
    assert numbers.tolist() == [list(range(7))]
    many = np.array([record([frames[0]] * 256)], object)
    jpegs = clip_records.parse(tf.constant(marked_clips.numbered(many, 256))).jpegs.numpy()
    numbers, sure = marked_clips.numbers_of(np.stack([tf.io.decode_jpeg(frame).numpy() for frame in jpegs])[None], 256)
    assert sure.all()
    assert numbers.tolist() == [list(range(256))]
    pictures[2] += 9
    assert not marked_clips.numbers_of(pictures[None], 7)[1][0, 2]


def test_nuisances_of_sound_measure_what_they_are_named_after():
    time = np.arange(8000) / RATE
    tone = np.sin(2 * np.pi * 1000 * time)
    waves = np.stack([0.5 * tone, 0.25 * tone, np.where(time < 0.25, 0, tone), 0.5 * np.sin(2 * np.pi * 4000 * time)])
    made = {name: values[:, 0] for name, values in nuisances.of_sound(waves.astype(np.float32)).items()}
    level = made["loudness"][:, 0]
    assert level[0] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)
    assert level[0] - level[1] == pytest.approx(6.02, abs=0.05)
    np.testing.assert_allclose(made["loudness"][2, 1:5], -80 - level[2], atol=0.1)  # silent in the first half
    assert made["loudness"][0, 9] == pytest.approx(3.01, abs=0.05)  # a sine's peak
    assert made["spectrum"][0, :24].argmax() < made["spectrum"][3, :24].argmax()
    assert made["ends of the sound"][2, 0] in (4000, 4001)


def test_command_on_clips_and_pictures(capfd):
    from tfssl.cli.main import main

    tasks = "rotation, audio_visual(seconds=0.5)"
    with pytest.raises(SystemExit) as done:
        main(["audit", "toy:clips(count=48, size=32, seconds=1.2)", "--tasks", tasks, "--size", "32", "--json"])
    assert done.value.code == 0
    shown = json.loads(capfd.readouterr().out)
    assert (shown["count"], shown["items"], shown["ok"]) == (48, "clips", True)
    assert {probe["task"].split("(")[0] for probe in shown["probes"]} == {"rotation", "audio_visual"}


def test_what_the_source_lacks_is_told():
    with pytest.raises(UserError, match="frame_order reads clip, toy:images"):
        tfssl.audit("toy:images(count=48, size=32)", "frame_order", size=32)
    with pytest.raises(UserError, match="has 12 clips; an audit needs at least 40"):
        tfssl.audit("toy:clips(count=12, size=32, seconds=1.2)", "frame_order", size=32)


def test_batches_in_which_nothing_counts_are_passed_over(source):
    quiet = [record([jpeg(np.zeros((16, 16, 3), np.uint8))] * 20, recording=str(number)) for number in range(40)]
    sounding = open_source("toy:clips(count=20, size=32, seconds=1.6)")
    mixed = dataclasses.replace(source.subset(np.arange(60), "mixed"), encoded=[*quiet, *sounding.encoded], labels=None)
    audit = found(mixed, "audio_visual(seconds=0.5)", 60)
    asked = {probe.name: probe.verdict for probe in audit.probes}
    assert asked["time stamp of the sound"] == OK
    assert audit.ok, str(audit)
    silent = dataclasses.replace(mixed, encoded=[*quiet, *quiet[:20]])
    audit = found(silent, "audio_visual(seconds=0.5)", 60)
    assert {audit.verdict(name) for name in ("answers balanced", "time stamp of the sound", "prediction")} == {NONE}
