"""Every real task is clean on the toy world, and every leak is found by the probe that is there for it."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.support import leaky_tasks
from tfssl.auditing import aberration, intervention, nuisances, pieces, prediction, results, samples, statistics
from tfssl.auditing.results import CONTENT, FAULT, LEAK, NONE, OK, WEAK
from tfssl.base.errors import UserError
from tfssl.pipelines import toy_world
from tfssl.pipelines.sources.any_source import open_source
from tfssl.tasks import TASKS
from tfssl.tasks.colorization import Colorization
from tfssl.tasks.parts.undoing import Pieces
from tfssl.tasks.relative_position import RelativePosition

COUNT = 240
REAL = sorted(name for name in TASKS if "image" in TASKS[name].reads)


@pytest.fixture(scope="module")
def toy():
    """Toy pictures with the grain of a sensor: uint8 [N, 60, 60, 3]."""
    images = toy_world.scenes(count=COUNT, size=60, seed=5, start=0).image
    grain = np.random.default_rng(0).normal(0, 6, images.shape)
    return np.clip(np.round(images + grain), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def source(toy):
    return open_source(tf.data.Dataset.from_tensor_slices(toy))


def found(source, tasks, size=48, count=COUNT):
    keras.utils.set_random_seed(0)  # of the untrained network that parts are shown to, whose answers vary widely
    return tfssl.audit(source, tasks, size=size, count=count, verbose=0)


def leaky(*names, **settings):
    return [getattr(leaky_tasks, name)(**settings) for name in names]


def alone(audit, name):
    """The audit of one task of several."""
    probes = [probe for probe in audit.probes if probe.task.partition("(")[0] == name]
    assert probes
    return dataclasses.replace(audit, probes=probes)


@pytest.fixture(scope="module")
def few(source):
    """An audit of half of the pictures: of all real tasks, and of what so few show. Pictures are read once for all."""
    leaks = leaky("SquashedAfterTurning", "OneTurnInterpolates", "ShuffledNoGap", "SameInEachEpoch", "WrongLabels")
    patches = leaky("NoGap", "NotStandardised", grid=2)
    return found(source, [*REAL, *leaks, *leaky("HoleShinesThrough"), *patches], count=COUNT // 2)


@pytest.fixture(scope="module")
def all_pictures(source):
    """An audit of all pictures, of tasks of one puzzle a picture and of what is seen in twice as many only."""
    once = leaky("OneSeedForTwo", "FrozenAtTracing", "MoreUpright", "Shuffled")
    return found(source, [*once, *leaky("SharperFirst", grid=2)])


@pytest.mark.parametrize("name", REAL)
def test_real_tasks_are_clean(few, name):
    audit = alone(few, name)
    assert audit.ok, str(audit)
    verdicts = {probe.name: probe.verdict for probe in audit.probes}
    assert verdicts["same seed, same puzzle"] == verdicts["graph equals eager"] == verdicts["epochs differ"] == OK
    assert WEAK not in (verdicts["answers balanced"], verdicts["undone, it is the source"])
    if name == "rotation":
        assert verdicts["borders"] == CONTENT
        assert verdicts["borders, neutral"] == OK


@pytest.mark.parametrize(
    ("leak", "probe", "verdict"),
    [
        ("SquashedAfterTurning", "sharpness directions, neutral", LEAK),
        ("OneTurnInterpolates", "noise level", LEAK),
        ("OneTurnInterpolates", "sharpness level, neutral", LEAK),
        ("ShuffledNoGap", "facing edges", LEAK),
        ("SameInEachEpoch", "epochs differ", FAULT),
        ("WrongLabels", "undone, it is the source", FAULT),
        ("HoleShinesThrough", "hidden part changed", LEAK),
        ("NoGap", "facing edges", LEAK),
        ("NotStandardised", "parts standardised", LEAK),
    ],
)
def test_leaks_are_found_in_few_pictures(few, leak, probe, verdict):
    audit = alone(few, leak)
    assert not audit.ok
    assert audit.verdict(probe) == verdict, str(audit)


@pytest.mark.parametrize(
    ("leak", "probe", "verdict"),
    [
        ("OneSeedForTwo", "mean colours, neutral", LEAK),
        ("FrozenAtTracing", "graph equals eager", FAULT),
        ("SharperFirst", "place of a piece alone, neutral", LEAK),
    ],
)
def test_leaks_are_found_in_all_pictures(all_pictures, leak, probe, verdict):
    audit = alone(all_pictures, leak)
    assert not audit.ok
    assert audit.verdict(probe) == verdict, str(audit)


def test_a_leak_of_resizing_is_found_at_the_size_of_the_pictures(source):
    # There nothing smoothes the grain away before the task does.
    audit = found(source, leaky("OldKernel"), size=60)
    assert not audit.ok
    assert audit.verdict("block phase") == LEAK, str(audit)


def test_a_reflected_border_tells_where_a_patch_lay(source):
    # Pictures of less than 1.25 times the crop get a reflected border, and no scene mirrors itself to the last bit.
    images = samples.crops(source, 56, 6, 0)
    task = RelativePosition(grid=2)
    stream = samples.Stream(samples.Maker(task, 0), samples.pictures(images))
    measures, right, groups = prediction.measure(stream)
    edges = measures["mirrored edges"].reshape(len(right), -1)
    assert statistics.mean_interval(prediction.hits(edges, right, groups), groups)[1][0] > 0.15
    for size, reflect in ((48, True), (56, False)):  # large enough, and as position tasks get them
        images = samples.crops(source, size, 6, 0, reflect)
        stream = samples.Stream(samples.Maker(task, 0), samples.pictures(images))
        measures, right, groups = prediction.measure(stream)
        assert not measures["mirrored edges"].any()
    assert not any(TASKS[name].reflects for name in ("relative_position", "jigsaw"))


def test_a_reflected_border_tells_where_a_tile_of_a_jigsaw_lay(source):
    audit = found(source, leaky_tasks.Shuffled(), size=56)
    assert audit.verdict("mirrored edges of a piece") == LEAK
    assert [probe.name for probe in audit.leaks] == ["mirrored edges of a piece"], str(audit)


def test_a_jigsaw_of_tiles_apart_is_clean(all_pictures):
    audit = alone(all_pictures, "Shuffled")
    assert audit.ok, str(audit)
    verdicts = {probe.name: probe.verdict for probe in audit.probes}
    for name in ("facing edges", "parts standardised", "undone, it is the source", "place of a piece alone, neutral"):
        assert verdicts[name] == OK


def test_unbalanced_answers_are_found_by_one_probe_alone(all_pictures):
    assert [probe.name for probe in alone(all_pictures, "rotation").leaks] == ["answers balanced"]


def test_colour_fringes_tell_the_place_unless_colour_is_dropped(toy):
    images = leaky_tasks.through_a_lens(toy)[:, 6:54, 6:54].reshape(-1, 6, 48, 48, 3)
    verdicts = {}
    for colour in ("keep", "drop"):
        task = RelativePosition(grid=2, colour=colour)
        probe = aberration.probe(task, samples.Stream(samples.Maker(task, 0), samples.pictures(images)))
        verdicts[colour] = probe.verdict
        # Two of two places each way: predicting the middle is wrong by a quarter of the side, each way.
        assert probe.chance == pytest.approx(np.sqrt(2) / 4, abs=0.02)
    assert verdicts == {"keep": LEAK, "drop": OK}


def test_shifts_measure_shifts():
    wide = np.random.default_rng(0).normal(size=(4, 40, 40))
    for axis in (1, 2, 1, 2, 1, 2):
        wide = sum(np.roll(wide, step, axis) for step in range(-3, 4))
    wide = 128 + 60 * wide / wide.std() / 2
    patch = np.stack([wide[:, 1:33, 4:36], wide[:, 2:34, 4:36], wide[:, 2:34, 3:35]], -1)
    measured = aberration.shifts(np.clip(np.round(patch), 0, 255).astype(np.uint8))
    # red against green, blue against green, red against blue; (down, across) each
    np.testing.assert_allclose(measured.mean(0), [1, 0, 0, 1, 1, -1], atol=0.25)
    grey = np.repeat(patch[..., :1], 3, -1).astype(np.uint8)
    np.testing.assert_allclose(aberration.shifts(grey), 0, atol=1e-5)


def test_neutral_pictures_keep_their_pixels_and_have_no_up():
    ramp = np.broadcast_to(np.arange(0, 160, 10, np.uint8)[:, None, None], (16, 16, 3))
    images = np.tile(ramp, (800, 1, 1, 1)).reshape(4, 200, 16, 16, 3)
    made = samples.neutral(images, 0)
    assert made.shape == images.shape
    assert set(np.unique(made)) <= set(np.unique(ramp))
    steps = np.abs(np.diff(made.astype(int), axis=2))  # reflection, not a jump from one edge to the other
    assert steps.max() == 10
    np.testing.assert_allclose(made.mean((0, 1, 4)), 75, atol=8)  # bright below in each source, now nowhere


def test_nuisances_measure_what_they_are_named_after():
    rng = np.random.default_rng(0)
    plain = np.full((2, 1, 32, 32, 3), 100.0)
    noisy = plain + rng.normal(0, 8, plain.shape)
    striped = plain + 30 * (np.arange(32) % 2)[:, None, None]  # rows differ, so steps go down
    blocks = plain + 20 * (np.arange(32) // 8 % 2)[:, None, None]
    made = [nuisances.features(np.clip(each, 0, 255).astype(np.uint8)) for each in (plain, noisy, striped, blocks)]
    assert made[1]["noise level"].min() > made[0]["noise level"].max() + 1
    assert made[2]["noise directions"][..., 0].min() > 2  # down against across
    np.testing.assert_allclose(made[0]["mean colours"], [[[100, 100, 100, 0, 0, 0]]] * 2, atol=1e-4)
    assert made[3]["block phase"][0, 0, :8].argmax() == 7  # the step from line 7 to line 8
    assert made[3]["block phase"].shape[2] == made[0]["block phase"].shape[2]
    turned = nuisances.features(np.rot90(noisy, 1, (2, 3)).clip(0, 255).astype(np.uint8))
    for name in nuisances.LEVELS:
        np.testing.assert_allclose(turned[name], made[1][name], rtol=1e-5)


def test_a_linear_model_is_tested_on_other_batches():
    rng = np.random.default_rng(0)
    right = rng.integers(0, 4, 800)
    groups = np.arange(800) // 20
    known = np.eye(4)[right] + rng.normal(0, 0.1, (800, 4))
    assert prediction.hits(known, right, groups).mean() > 0.95
    # A figure that names the batch and nothing else: within a batch it would tell, in others it does not.
    skewed = (groups * 7 + rng.integers(0, 2, 800)) % 4
    share, (low, high) = statistics.mean_interval(prediction.hits(np.eye(40)[groups], skewed, groups), groups)
    assert low < 0.25 < high
    assert share < 0.35


def test_interval_holds_what_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        means = rng.normal(0, 1, 12)  # batches differ: 600 questions are worth 12
        values = np.repeat(means, 50) + rng.normal(0, 0.1, 600)
        low, high = statistics.mean_interval(values, np.repeat(np.arange(12), 50))[1]
        held += low <= 0 <= high
    assert 0.97 <= held / 300 <= 1


def test_pieces_are_found_in_their_own_box_only():
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8)
    boxes = np.array([[0, 0, 12, 12], [0, 12, 12, 12]])
    cut = np.stack([images[:, 1:9, 3:11], images[:, 2:10, 14:22]], 1)
    assert pieces.find_in(images, Pieces(cut, boxes)).all()
    assert not pieces.find_in(images, Pieces(cut[:, ::-1], boxes)).any()
    mirrored = images[:, :, ::-1]
    cut = np.stack([mirrored[:, 1:9, 3:11], mirrored[:, 2:10, 14:22]], 1)
    assert pieces.find_in(images, Pieces(cut, boxes)).all()
    one_channel = cut.copy()
    one_channel[..., 1:] = np.random.default_rng(1).integers(0, 256, one_channel[..., 1:].shape)
    assert pieces.find_in(images, Pieces(one_channel, boxes)).all()
    assert pieces.facing(boxes) == [(0, 1, False)]
    # Cells of two sizes: boxes overlap by some pixels.
    overlapping = np.array([[0, 0, 26, 26], [0, 24, 26, 28], [24, 0, 28, 26], [24, 24, 28, 28]])
    assert pieces.facing(overlapping) == [(0, 1, False), (0, 2, True), (1, 3, True), (2, 3, False)]


def test_other_colours_have_the_same_luminance():
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    others = intervention.other_colours(images)

    def lightness(pixels):  # of CIE Lab, under D65
        linear = np.array([((v + 0.055) / 1.055) ** 2.4 if v > 0.04045 else v / 12.92 for v in np.arange(256) / 255])
        light = linear[pixels] @ [0.2126, 0.7152, 0.0722]
        return np.where(light > 0.008856, 116 * np.cbrt(light) - 16, 903.3 * light)

    assert np.abs(lightness(images) - lightness(others)).max() < 1
    assert np.abs(images.astype(int) - others).max(-1).mean() > 30


def test_table_and_json(source, few):
    audit = alone(few, "inpainting")
    lines = str(audit).splitlines()
    assert lines[0] == f"{COUNT // 2} pictures of {source.name} at 48 px"
    assert lines[-1] == "no leak found"
    assert any(line.split()[:2] == ["graph", "equals"] and " ok " in line for line in lines)
    shown = json.loads(json.dumps(audit.as_json()))
    assert shown["ok"] is True
    assert {probe["verdict"] for probe in shown["probes"]} == {OK, NONE}
    leaky = results.Probe(task="rotation", name="borders", verdict=LEAK, found=0.5, bounds=(0.4, 0.6), chance=0.25)
    assert leaky.cells() == ("borders", "50.0 % (40.0 to 60.0)", "25.0 %", LEAK, "")
    other = results.Audit(probes=[leaky], data="photos", count=8, size=32)
    assert not other.ok
    assert str(other).endswith("1 probe found a leak or a fault")


def test_what_a_head_is_given_beside_the_picture_is_named(source, toy):
    maker = samples.Maker(Colorization(diverse=2).prepared(source), 0)
    probe = next(p for p in intervention.probes(maker, toy[:6, :48, :48]) if p.name == "hidden part changed")
    assert probe.found == 0
    assert probe.verdict == WEAK
    assert "the head is given reference" in probe.note


def test_command(capfd, monkeypatch):
    from tfssl import tasks
    from tfssl.cli.main import main

    with pytest.raises(SystemExit) as done:
        main(["audit", "toy:images(count=48)", "--tasks", "inpainting", "--size", "32", "--json"])
    assert done.value.code == 0
    assert json.loads(capfd.readouterr().out)["ok"] is True
    monkeypatch.setitem(tasks.TASKS, "rotation", leaky_tasks.WrongLabels)
    with pytest.raises(SystemExit) as done:
        main(["audit", "toy:images(count=48)", "--size", "32"])
    assert done.value.code == 1
    assert "1 probe found a leak or a fault" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": 8}, "size=8 is given"),
        ({"count": 10}, "count=10 is given"),
        ({"seed": -1}, "seed=-1 is given"),
        ({"tasks": "rotations"}, "unknown task"),
    ],
)
def test_wrong_input(source, arguments, says):
    with pytest.raises(UserError, match=says):
        tfssl.audit(source, **arguments)


def test_too_few_pictures():
    with pytest.raises(UserError, match="has 20 pictures; an audit needs at least 40"):
        tfssl.audit("toy:images(count=20)", "rotation")
