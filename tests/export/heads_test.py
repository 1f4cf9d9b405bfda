"""Signatures of heads: what is served is what the run's own networks and commands say."""

import io
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

import tfssl
from tests.export.limits_test import picture, png_bomb
from tfssl.apply.localise import Localiser
from tfssl.export.checking.check import check
from tfssl.export.checking.golden import as_objects
from tfssl.export.checking.replay import compare
from tfssl.export.signatures import limits
from tfssl.export.signatures.heads import INPUTS, head_signatures
from tfssl.pipelines.decoding import formats, picture_crops
from tfssl.tasks.parts.served import ServedNetwork
from tfssl.tasks.rotation import Rotation

SIZE = 32


pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture(scope="module")
def rotation(toy_export, loaded_once):
    return tf.saved_model.load(str(toy_export / "1"))


@pytest.fixture(scope="module")
def colours(colour_export, loaded_once):
    return tf.saved_model.load(str(colour_export / "1"))


@pytest.fixture(scope="module")
def heat(localising_export, loaded_once):
    return tf.saved_model.load(str(localising_export / "1"))


def encoded(shape, kind, **settings):
    image = np.random.default_rng(sum(shape)).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).resize(shape[::-1], Image.Resampling.BICUBIC).save(file, kind, **settings)
    return file.getvalue()


@pytest.fixture
def pictures():
    """Wide, tall and to be turned, small, of another kind."""
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = [((50, 90), "JPEG", {}), ((80, 40), "PNG", {"exif": exif}), ((20, 24), "PNG", {}), ((64, 64), "BMP", {})]
    return [encoded(shape, kind, **settings) for shape, kind, settings in kinds]


def test_rotation_is_what_the_runs_network_says(toy_run, rotation, pictures):
    found = rotation.signatures["predict_rotation"](image_bytes=tf.constant([*pictures, b"none"]))
    images, _ = picture_crops.pictures(tf.constant(pictures), SIZE)
    logits = toy_run.solver("rotation")(images, training=False).numpy()
    expected = np.exp(logits - logits.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(found["probabilities"][:-1], expected, atol=1e-5)
    np.testing.assert_array_equal(found["angle"][:-1], 90 * logits.argmax(1))
    np.testing.assert_array_equal(found["valid"], [True] * 4 + [False])
    assert found["probabilities"].shape == (5, 4)
    np.testing.assert_array_equal(found["probabilities"][-1], 0)


def test_decoding_and_weights_are_written_once(toy_run, toy_export):
    """Though two signatures decode pictures. Keras's own archive writes each weight under two keys."""
    saved = saved_model_pb2.SavedModel.FromString((toy_export / "1" / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    assert sum(node.op == "DecodeAndCropJpeg" for each in functions for node in each.node_def) == len(formats.RATIOS)
    written = tf.train.list_variables(str(toy_export / "1" / "variables" / "variables"))
    weights = toy_run.encoder().weights + toy_run.solver("rotation").weights
    shapes = [shape for name, shape in written if name.endswith("VARIABLE_VALUE")]
    assert sorted(shapes) == sorted(list(weight.shape) for weight in weights)


def run_of(task, **parts):
    """What signatures ask of a run that was trained on a task."""
    settings = types.SimpleNamespace(size=SIZE)
    return types.SimpleNamespace(**{"tasks": lambda: [task], "settings": settings, "sound": None} | parts)


def test_a_task_says_what_is_served_of_it_and_the_export_decodes_and_masks():
    class Measured(Rotation):
        signature = "measure"
        takes = ("waveform",)

        def served(self, run):
            assert run.answer == 42

            def answer(sound):
                return {"beside": tf.cast(10 * sound, tf.int32) + 1, "all": tf.reduce_sum(sound, 1) + 1}

            return ServedNetwork(answer)

    (signature,) = head_signatures(run_of(Measured(), sound={"samples": 3}, answer=42))
    assert (signature.name, signature.inputs) == ("measure", (tf.TensorSpec([None, 3], name="waveform"),))
    graph = tf.function(signature.function, input_signature=signature.inputs)
    found = graph(tf.constant([[0.1, 0.2, 0.3], [0.1, np.nan, 0], [0, 0, -0.5]]))
    assert {name: rows.numpy().tolist() for name, rows in found.items()} == {
        "beside": [[2, 3, 4], [0, 0, 0], [1, 1, -4]],
        "all": pytest.approx([1.6, 0, 0.5]),
        "valid": [True, False, True],
    }
    assert [len(rows) for rows in graph(tf.zeros([0, 3])).values()] == [0, 0, 0]


def test_each_task_serves_under_a_name_of_its_own():
    """INPUTS is what old golden vectors are read by, too."""
    assert INPUTS == {
        "serving_default": ("image_bytes",),
        "pixels": ("pixels",),
        "waveform": ("waveform",),
        "predict_rotation": ("image_bytes",),
        "colorize": ("image_bytes",),
        "localise": ("image_bytes", "waveform"),
        "classify": ("image_bytes",),
        "classify_pixels": ("pixels",),
        "keypoints": ("image_bytes",),
        "keypoints_pixels": ("pixels",),
        "segment": ("image_bytes",),
        "segment_pixels": ("pixels",),
        "normals": ("image_bytes",),
        "normals_pixels": ("pixels",),
        "detect": ("image_bytes",),
        "detect_pixels": ("pixels",),
        "words": ("words",),
        "sentences": ("sentences",),
        "numbers": ("numbers",),
    }


def test_rotation_of_the_inscribed_view_asks_about_the_middle_of_a_picture(pictures):
    solver = keras.Sequential([keras.Input((21, 21, 3), dtype="uint8"), keras.layers.Flatten(), keras.layers.Dense(2)])
    solver.layers[-1].set_weights([np.random.default_rng(0).normal(0, 1e-3, (21 * 21 * 3, 2)), np.zeros(2)])
    task = Rotation(rotations=2, view="inscribed")
    (signature,) = head_signatures(run_of(task, solver={"rotation": solver}.get))
    found = signature.function(tf.constant(pictures))
    images, _ = picture_crops.pictures(tf.constant(pictures), SIZE)
    logits = images.numpy()[:, 5:26, 5:26].reshape(4, -1) @ solver.layers[-1].kernel.numpy()
    expected = 1 / (1 + np.exp(logits[:, :1] - logits[:, 1:]))
    np.testing.assert_allclose(found["probabilities"][:, 1:], expected, atol=1e-4)
    np.testing.assert_array_equal(found["angle"], 180 * logits.argmax(1))


def test_colorize_gives_the_files_of_the_command(colour_run, colours, pictures, tmp_path):
    (tmp_path / "in").mkdir()
    for number, data in enumerate(pictures):
        (tmp_path / "in" / f"{number}.png").write_bytes(data)
    tfssl.colorize(colour_run, tmp_path / "in", tmp_path / "out", verbose=0)
    rows = [pictures[0], b"", png_bomb(5000), *pictures[1:], pictures[0][:300]]
    found = colours.signatures["colorize"](image_bytes=tf.constant(rows))
    np.testing.assert_array_equal(found["valid"], [True, False, False, True, True, True, False])
    png = [data for data in found["png_bytes"].numpy() if data]
    assert len(png) == 4
    for number, data in enumerate(png):
        made, command = (
            np.asarray(Image.open(file)) for file in (io.BytesIO(data), tmp_path / "out" / f"{number}.png")
        )
        assert made.shape == command.shape
        assert np.abs(made.astype(int) - command).max() <= 1
        assert np.ptp(made, axis=-1).max() > 2
    assert np.asarray(Image.open(io.BytesIO(png[1]))).shape == (40, 80, 3)


def test_localise_is_the_map_of_the_command(localising_run, heat):
    signature = heat.signatures["localise"]
    rows = [picture(size=side) for side in (40, 60, 33)]
    sounds = np.random.default_rng(0).normal(0, 0.1, (3, 8000)).astype("f4")
    images, _ = picture_crops.pictures(tf.constant(rows), SIZE)
    expected = Localiser(localising_run)(images.numpy(), sounds)
    found = signature(image_bytes=tf.constant(rows), waveform=tf.constant(sounds))
    np.testing.assert_allclose(found["heat"], expected, rtol=1e-4, atol=1e-5)
    broken = sounds.copy()
    broken[0, 5] = np.nan
    found = signature(image_bytes=tf.constant([*rows[:2], b"none"]), waveform=tf.constant(broken))
    np.testing.assert_array_equal(found["valid"], [False, True, False])
    np.testing.assert_allclose(found["heat"][1], expected[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found["heat"].numpy()[[0, 2]], 0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many windows of sound as pictures"):
        signature(image_bytes=tf.constant(rows[:2]), waveform=tf.constant(sounds))
    nothing = signature(image_bytes=tf.zeros([0], tf.string), waveform=tf.zeros([0, 8000]))
    assert nothing["heat"].shape == (0, *expected.shape[1:])


def test_empty_and_too_long_requests(rotation, colours):
    for signature in (rotation.signatures["predict_rotation"], colours.signatures["colorize"]):
        assert signature(image_bytes=tf.zeros([0], tf.string))["valid"].shape == (0,)
        with pytest.raises(tf.errors.InvalidArgumentError, match="send several requests"):
            signature(image_bytes=tf.fill([limits.MAX_ROWS + 1], b"x"))


def test_a_picture_of_many_pixels_is_not_coloured(colours):
    """JPEG too, which other signatures decode at a fraction of its size."""
    large = Image.new("L", (4100, 4100), 90)
    file = io.BytesIO()
    large.save(file, "JPEG")
    assert not colours.signatures["colorize"](image_bytes=tf.constant([file.getvalue()]))["valid"].numpy().any()


def test_golden_answers_replay(toy_export, colour_export, localising_export):
    for folder, names in (
        (toy_export, ["serving_default", "pixels", "predict_rotation"]),
        (colour_export, ["serving_default", "pixels", "colorize"]),
        (localising_export, ["serving_default", "pixels", "waveform", "localise"]),
    ):
        found = check(folder)
        assert found.ok, str(found)
        assert [one.name for one in found.replays] == names
        assert found.replays[-1].rows == 12


def test_other_colours_are_found_out():
    """A level apart may be rounding; more is another colouring, another size or no picture at all."""

    def png(*rows):
        made = [tf.io.encode_png(np.uint8(row)).numpy() if row is not None else b"" for row in rows]
        return {"png_bytes": as_objects(made)}

    grey = np.full((4, 5, 3), 100)
    expected = png(grey, grey, None)
    assert compare("colorize", expected, png(grey, grey, None)).difference == 0
    assert compare("colorize", expected, png(grey + 1, grey, None)).ok
    apart = compare("colorize", expected, png(grey, grey - 2, None))
    assert (apart.ok, apart.difference, apart.wrong) == (False, 2, 0)
    assert compare("colorize", expected, png(grey[:3], grey, None)).wrong == 1
    assert compare("colorize", expected, png(None, grey, grey)).wrong == 2


def test_eight_rotations_are_asked_about_a_tilted_picture():
    """Angles are those of the picture as it came: the puzzle of no turn is called 0 degrees."""
    task = Rotation(rotations=8)
    half = np.random.default_rng(0).integers(0, 256, (1, 32, 16, 3), dtype=np.uint8)
    images = np.concatenate([half, half[:, :, ::-1]], 2)  # mirrored or not, it is the same
    seen, meant = task.seen(tf.constant(images))
    assert sorted(meant) == list(range(0, 360, 45))
    puzzles, answers, _ = task.puzzles({"image": tf.constant(images)}, tf.constant([0, 0]))
    same = [int(answer) for puzzle, answer in zip(puzzles, answers, strict=True) if np.array_equal(puzzle, seen[0])]
    assert [meant[answer] for answer in same] == [0]
    assert Rotation().seen(images)[1] == (0, 90, 180, 270)
