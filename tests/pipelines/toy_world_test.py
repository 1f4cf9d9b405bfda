"""The toy world: scenes are the same whoever asks, and what is said about them is what is drawn."""

import dataclasses
import itertools
import time

import numpy as np
import pytest

from tfssl.base.errors import UserError
from tfssl.pipelines import toy_world
from tfssl.pipelines.toy_world.objects import KINDS
from tfssl.pipelines.toy_world.sound import VOICES, sound_of

CLASSES = toy_world.CLASSES


@pytest.fixture(scope="module")
def many() -> toy_world.Scenes:
    return toy_world.scenes(300, size=48, seed=5)


def assert_same(one: toy_world.Scenes, other: toy_world.Scenes) -> None:
    for field in dataclasses.fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


def part_of(scenes: toy_world.Scenes, rows: slice) -> toy_world.Scenes:
    return toy_world.Scenes(**{field.name: getattr(scenes, field.name)[rows] for field in dataclasses.fields(scenes)})


@pytest.mark.smoke
def test_shapes_and_types() -> None:
    scenes = toy_world.scenes(3, size=32)
    objects, points = scenes.class_ids.shape[1], max(len(names) for names in toy_world.KEY_POINTS)
    expected = {
        "image": ((3, 32, 32, 3), np.uint8),
        "label": ((3,), np.int32),
        "class_ids": ((3, objects), np.int32),
        "boxes": ((3, objects, 4), np.int32),
        "visibility": ((3, objects), np.float32),
        "key_points": ((3, objects, points, 2), np.float32),
        "key_point_visible": ((3, objects, points), np.bool_),
        "instances": ((3, 32, 32), np.uint8),
        "normals": ((3, 32, 32, 3), np.float32),
        "mask": ((3, 32, 32), np.bool_),
        "light": ((3, 3), np.float32),
    }
    found = {name: (getattr(scenes, name).shape, getattr(scenes, name).dtype.type) for name in expected}
    assert found == expected
    assert len(scenes) == 3


def test_a_scene_is_the_same_whatever_count_and_start() -> None:
    whole = toy_world.scenes(280, size=24, seed=3)  # more than is drawn at once
    assert_same(toy_world.scenes(280, size=24, seed=3), whole)
    for start, count in ((0, 1), (7, 5), (137, 20), (255, 3), (279, 1)):
        assert_same(toy_world.scenes(count, size=24, seed=3, start=start), part_of(whole, slice(start, start + count)))


def test_seeds_and_scenes_differ() -> None:
    one, other = toy_world.scenes(20, size=24, seed=0).image, toy_world.scenes(20, size=24, seed=1).image
    assert all((a != b).mean() > 0.5 for a, b in zip(one, other, strict=True))
    assert len({picture.tobytes() for picture in one}) == 20
    assert toy_world.scenes(2, size=24, seed=2**60, start=2**40).image.std() > 10


def test_classes_are_balanced(many: toy_world.Scenes) -> None:
    np.testing.assert_array_equal(np.bincount(many.label), 30)
    np.testing.assert_array_equal(np.sort(many.label.reshape(-1, 10), axis=1), np.tile(np.arange(10), (30, 1)))
    assert len({tuple(block) for block in many.label.reshape(-1, 10)}) > 25
    np.testing.assert_array_equal(many.label, many.class_ids[:, 0])
    assert not (many.class_ids[:, 1:] == many.label[:, None]).any()


def test_boxes_fit_the_instances_tightly(many: toy_world.Scenes) -> None:
    seen = 0
    for scene, place in np.ndindex(many.class_ids.shape):
        rows, columns = np.nonzero(many.instances[scene] == 2 + place)
        box = many.boxes[scene, place]
        if len(rows) == 0:
            assert many.visibility[scene, place] == 0
            np.testing.assert_array_equal(box, 0)
            continue
        seen += 1
        assert many.class_ids[scene, place] >= 0
        expected = [rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1]
        np.testing.assert_array_equal(box, expected)
    assert seen > 800


def test_mask_is_all_but_the_sky(many: toy_world.Scenes) -> None:
    np.testing.assert_array_equal(many.mask, many.instances > 0)
    without_sky = many.mask.all(axis=(1, 2)).mean()
    assert 0.25 < without_sky < 0.5
    assert (many.instances[:, -1] == 0).sum() == 0


def test_some_are_half_hidden_and_the_main_object_never_quite(many: toy_world.Scenes) -> None:
    visibility = many.visibility[many.class_ids >= 0]
    assert visibility.max() == 1
    assert 0.08 < ((visibility > 0.2) & (visibility < 0.7)).mean() < 0.4
    assert 0.03 < (many.visibility[:, 0] < 0.7).mean() < 0.3
    assert many.visibility[:, 0].min() > 0.3
    assert (many.visibility[many.class_ids < 0] == 0).all()


def test_visibility_counts_what_an_object_in_front_covers() -> None:
    scenes = toy_world.scenes(200, size=48, seed=9)
    alone = (scenes.class_ids >= 0).sum(axis=1) == 1
    boxes = scenes.boxes[:, 0]
    inside = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, :2] + boxes[:, 2:] < 48).all(axis=1)
    assert (alone & inside).sum() > 3
    np.testing.assert_array_equal(scenes.visibility[alone & inside, 0], 1)


def test_normals_are_unit_and_look_at_the_camera(many: toy_world.Scenes) -> None:
    np.testing.assert_allclose(np.linalg.norm(many.normals, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(many.light, axis=-1), 1, atol=1e-6)
    assert (many.light[:, 1] > 0.5).all()
    assert (many.normals[..., 2] > -1e-3).all()
    ground = many.normals[many.instances == 1]
    assert ground[:, 1].mean() > 0.8
    sky = many.normals[many.instances == 0]
    assert sky[:, 2].mean() > 0.99


def test_shading_follows_the_normals(many: toy_world.Scenes) -> None:
    """On the main object (where nothing glows): the more a surface faces the light, and the more up, the brighter."""
    by_light, by_height = [], []
    for scene in np.flatnonzero(np.isin(many.label, [CLASSES.index(name) for name in ("tree", "duck", "dog")])):
        own = many.instances[scene] == 2
        normals, grey = many.normals[scene][own], many.image[scene][own].mean(axis=-1)
        if own.sum() > 60:
            by_light.append(np.corrcoef(normals @ many.light[scene], grey)[0, 1])
            by_height.append(np.corrcoef(normals[:, 1], grey)[0, 1])
    assert len(by_light) > 60
    assert np.mean(by_light) > 0.45
    assert np.mean(by_height) > 0.35
    assert np.mean(np.array(by_height) > 0) > 0.9


def test_key_points_lie_on_their_object(many: toy_world.Scenes) -> None:
    """Wherever a whole object is in view, nearly all of its key points are its own pixels."""
    known = ~np.isnan(many.key_points[..., 0])
    named = np.array([len(names) for names in toy_world.KEY_POINTS])
    np.testing.assert_array_equal(known.sum(axis=-1), np.where(many.class_ids >= 0, named[many.class_ids], 0))
    clear = (many.visibility[:, 0] == 1) & (many.boxes[:, 0, 2] > 20)
    hits = many.key_point_visible[clear, 0].sum() / known[clear, 0].sum()
    assert hits > 0.95
    for scene, place, point in np.argwhere(many.key_point_visible)[::7]:
        row, column = np.floor(many.key_points[scene, place, point]).astype(int)
        assert many.instances[scene, row, column] == 2 + place


def test_objects_stand_upright(many: toy_world.Scenes) -> None:
    for scene in np.flatnonzero(np.isin(many.label, [CLASSES.index(name) for name in ("tree", "fir", "mushroom")])):
        names = toy_world.KEY_POINTS[many.label[scene]]
        points = many.key_points[scene, 0]
        assert points[names.index("top"), 0] < points[names.index("foot"), 0]
        assert points[names.index("left"), 1] < points[names.index("right"), 1]


def test_kinds_have_their_typical_colour(many: toy_world.Scenes) -> None:
    def mean_colour(name: str) -> np.ndarray:
        rows = np.flatnonzero(many.label == CLASSES.index(name))
        return np.mean([many.image[row][many.instances[row] == 2].mean(axis=0) for row in rows], axis=0)

    tree, mushroom, duck = mean_colour("tree"), mean_colour("mushroom"), mean_colour("duck")
    assert tree[1] > tree[0] > tree[2]
    assert mushroom[0] > 1.2 * mushroom[1]
    assert duck[0] > 1.5 * duck[2]
    assert duck[1] > 1.3 * duck[2]


def test_a_scene_is_the_same_in_another_size() -> None:
    small, large = toy_world.scenes(10, size=32, seed=4), toy_world.scenes(10, size=64, seed=4)
    np.testing.assert_array_equal(small.class_ids, large.class_ids)
    halved = large.image.reshape(10, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(halved - small.image).mean() < 15


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": 8}, {"seed": -1}, {"start": -1}])
def test_wrong_arguments_are_named(wrong: dict[str, int]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(UserError, match=f"{name}={value}.*expected"):
        toy_world.scenes(**({"count": 1} | wrong))


def test_a_clip_is_the_same_each_time_and_longer_ones_go_on() -> None:
    one, again = toy_world.clip(4, seed=2, size=24), toy_world.clip(4, seed=2, size=24)
    np.testing.assert_array_equal(one.frames, again.frames)
    np.testing.assert_array_equal(one.sound, again.sound)
    longer = toy_world.clip(4, seed=2, seconds=3.0, size=24)
    np.testing.assert_array_equal(longer.frames[:25], one.frames)
    assert one.frames.shape == (25, 24, 24, 3)
    assert one.sound.shape == (32000,)
    assert one.sound.dtype == np.float32
    assert np.abs(one.sound).max() <= 1
    assert len({toy_world.clip(index, seed=2, size=16, seconds=0.2).label for index in range(10)}) == 10


def test_boxes_of_a_clip_follow_the_object() -> None:
    for index in range(6):
        clip = toy_world.clip(index, seed=1, size=48)
        for frame in range(len(clip.frames)):
            rows, columns = np.nonzero(clip.instances[frame] == 2)
            expected = [rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1]
            np.testing.assert_array_equal(clip.boxes[frame, 0], expected)
        assert clip.visibility[:, 0].min() > 0.3
        assert (clip.boxes[:, clip.class_ids < 0] == 0).all()


def spectrum(kind: str) -> np.ndarray:
    """Returns the power in 24 bands, from 60 to 8000 hertz, that sum to 1."""
    sound = sound_of(kind, np.array([0.0]), 9600, 16000)
    power, hertz = np.abs(np.fft.rfft(sound)) ** 2, np.fft.rfftfreq(9600, 1 / 16000)
    edges = np.geomspace(60, 8000, 25)
    bands = np.array([power[(hertz >= a) & (hertz < b)].sum() for a, b in itertools.pairwise(edges)])
    return bands / bands.sum()


def test_every_kind_has_a_voice_of_its_own() -> None:
    assert tuple(VOICES) == CLASSES == tuple(KINDS)
    bands = np.stack([spectrum(kind) for kind in CLASSES])
    overlap = np.minimum(bands[:, None], bands[None]).sum(axis=-1)
    assert overlap[~np.eye(len(CLASSES), dtype=bool)].max() < 0.8


def test_the_rhythm_follows_the_motion() -> None:
    """The sound sets in at each beat, and at a beat the picture is where the motion turns or lands."""
    seen = set()
    for index in range(14):
        clip = toy_world.clip(index, seed=8, size=64, frame_rate=50.0)
        motion = toy_world.MOTIONS[clip.motion]
        seen.add(motion)
        assert len(clip.beats) >= 2
        period = np.diff(clip.beats)
        np.testing.assert_allclose(period, period[0], atol=1e-4)
        for beat in clip.beats:
            first = round(float(beat) * 16000)
            after = np.square(clip.sound[first : first + 320]).mean()
            if len(clip.sound) - first > 320 and first > 320:
                assert after > 1.2 * np.square(clip.sound[first - 320 : first]).mean()
        if clip.boxes[:, 0, 0].min() == 0 or (clip.boxes[:, 0, :2] + clip.boxes[:, 0, 2:]).max() >= 64:
            continue  # cut off by the frame: the box does not tell the motion
        bottom, height = clip.boxes[:, 0, 0] + clip.boxes[:, 0, 2], clip.boxes[:, 0, 2]
        at = np.minimum(np.round(clip.beats * 50).astype(int), 99)
        between = np.minimum(np.round((clip.beats[:-1] + period / 2) * 50).astype(int), 99)
        if motion == "hop":
            assert bottom[at].min() > bottom[between].max()
        elif motion == "pulse":
            assert height[at].min() > height[between].max()
    assert seen == set(toy_world.MOTIONS)


def test_frames_have_an_order() -> None:
    """Some motion never turns back: the middle of the object's foot goes one way over the clip."""
    for index in range(5):
        clip = toy_world.clip(index, seed=6, size=64)
        middle = clip.boxes[:, 0, 1] + clip.boxes[:, 0, 3] / 2
        assert abs(middle[-8:].mean() - middle[:8].mean()) > 1


def test_wrong_clips_are_named() -> None:
    with pytest.raises(UserError, match=r"seconds=0\.0.*at least one frame"):
        toy_world.clip(0, seconds=0.0)
    with pytest.raises(UserError, match="index=-1"):
        toy_world.clip(-1)


def test_speed() -> None:
    """1,000 scenes of 64 pixels take about a second; 4 are allowed, in processor time, for slow and busy machines."""
    toy_world.scenes(20)
    begin = time.process_time()
    toy_world.scenes(500)
    assert time.process_time() - begin < 2
