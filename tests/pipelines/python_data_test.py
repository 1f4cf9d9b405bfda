"""What Keras users pass in Python: arrays, data sets of every kind, labels of every kind."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfssl.base.errors import UserError
from tfssl.pipelines.sources.any_source import open_source
from tfssl.pipelines.sources.labels import number

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (6, 12, 10, 3), dtype=np.uint8)
Y = np.array([2, 0, 1, 1, 2, 0])
SLICES = tf.data.Dataset.from_tensor_slices


def decoded(source):
    return np.stack([tf.io.decode_png(data, channels=3) for data in source.encoded])


@pytest.mark.parametrize(
    "labels",
    [
        Y,
        Y[:, None],
        Y.astype(np.float32)[:, None],
        Y.astype(np.uint8),
        Y.tolist(),
        tf.constant(Y),
        np.eye(3)[Y],
        np.eye(3, dtype=bool)[Y],
    ],
)
def test_labels_as_numbers(labels):
    numbers, classes = number("data", labels)
    np.testing.assert_array_equal(numbers, Y)
    assert classes == ("0", "1", "2")


def test_labels_as_names_and_of_any_size():
    names = ["b", "é", "a", "b"]
    for given in (names, np.array(names), np.array(names, object), [each.encode() for each in names]):
        numbers, classes = number("data", given)
        assert (numbers.tolist(), classes) == ([1, 2, 0, 1], ("a", "b", "é"))
    numbers, classes = number("data", np.array([2_000_000_000, -1, 7, 2_000_000_000]))
    assert (numbers.tolist(), classes) == ([1, -1, 0, 1], ("7", "2000000000"))
    assert number("data", [0, 2], ["x", "y", "z"])[1] == ("x", "y", "z")


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0.5, 1], "a label is 0.5"),
        ([np.nan, 1], "a label is nan"),
        ([[0, 1, 1], [1, 0, 0]], r"the label \[0, 1, 1\] is not one-hot"),
        (np.zeros((2, 4, 4)), r"labels have the shape \[4, 4\] each"),
        (["a", None], "among the labels is None"),
        ([[0], [1, 2]], "rows of different lengths"),
        (np.array(["2020-01-01"], "datetime64[D]"), "labels are datetime64"),
    ],
)
def test_labels_of_another_kind(labels, says):
    with pytest.raises(UserError, match=f"^data: .*{says}.*; expected one class a picture"):
        number("data", labels)


@pytest.mark.parametrize(
    "data",
    [
        X,
        tf.constant(X),
        list(X),
        X.astype(np.int64),
        X.astype(np.float32),
        (X / 255).astype(np.float32),
        X / 255.0,
        SLICES(X / 255.0),
        SLICES(X).batch(4),
        SLICES(tf.cast(X, tf.float32)).batch(4, drop_remainder=False),
        SLICES({"image": X}).batch(2),
        [tf.io.encode_png(each).numpy() for each in X],
        SLICES([tf.io.encode_png(each).numpy() for each in X]).batch(3),
    ],
)
def test_pictures_alone(data):
    source = open_source(data)
    np.testing.assert_array_equal(decoded(source), X)
    assert source.labels is None


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (X / 255.0, np.eye(3)[Y]),
        (X, Y[:, None]),
        {"image": X, "label": Y},
        SLICES((X, Y)).batch(4),
        SLICES((X, np.eye(3, dtype=np.float32)[Y])).batch(4),
        SLICES((X, Y[:, None])),
        SLICES({"image": X, "label": Y.astype(str)}),
        SLICES((X, Y, np.ones(6))).batch(4),
    ],
)
def test_pictures_with_labels(data):
    source = open_source(data)
    np.testing.assert_array_equal(decoded(source), X)
    np.testing.assert_array_equal(source.labels, Y)
    assert source.classes == ("0", "1", "2")


def test_grey_pictures_as_of_mnist():
    grey = X[..., 0]
    for data in (
        grey,
        (grey / 255.0, Y),
        SLICES(grey),
        SLICES((grey, Y)).batch(4),
        SLICES((grey, Y)).batch(6, True),
        X[..., :1],
        list(grey),
    ):
        np.testing.assert_array_equal(decoded(open_source(data)), np.repeat(grey[..., None], 3, 3))


def test_dark_pictures_stay_dark():
    """The range of all of them counts, not of each."""
    pictures = X.astype(np.float32)
    pictures[2] = RANDOM.integers(0, 2, pictures[2].shape)
    np.testing.assert_array_equal(decoded(open_source(pictures)), pictures)


def test_a_folder_that_keras_reads(tmp_path):
    """Its data set has batches of floats, and the names of classes."""
    for place, image in enumerate(X[:5]):
        path = tmp_path / ("cat" if place < 2 else "dog") / f"{place}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    settings = {"image_size": (12, 10), "shuffle": False, "batch_size": 2, "verbose": False}
    for mode in ("int", "categorical", "binary"):
        source = open_source(keras.utils.image_dataset_from_directory(tmp_path, label_mode=mode, **settings))
        np.testing.assert_array_equal(decoded(source), X[:5])
        assert (source.labels.tolist(), source.classes) == ([0, 0, 1, 1, 1], ("cat", "dog"))
    settings |= {"image_size": (24, 20), "interpolation": "lanczos3"}  # which leaves 0..255 by a little
    larger = decoded(open_source(keras.utils.image_dataset_from_directory(tmp_path, label_mode=None, **settings)))
    expected = np.clip(tf.image.resize(X[:5], (24, 20), "lanczos3").numpy().round(), 0, 255)
    np.testing.assert_allclose(larger, expected, atol=1)


def test_a_list_of_files(tmp_path):
    files = [tmp_path / f"{place}.png" for place in range(6)]
    for path, image in zip(files, X, strict=True):
        Image.fromarray(image).save(path)
    for data in (files, [str(path) for path in files], np.array([str(path) for path in files])):
        source = open_source(data)
        assert (source.paths, source.labels) == ([str(path) for path in files], None)
        np.testing.assert_array_equal(tf.io.decode_png(source.encoded_pictures([3])[0]), X[3])
    source = open_source((files, ["u", "v", "u", "v", "u", "v"]))
    assert (source.labels.tolist(), source.classes) == ([0, 1] * 3, ("u", "v"))
    with pytest.raises(UserError, match=r"gone.png, one of a list of 2 files, does not exist"):
        open_source([files[0], tmp_path / "gone.png"])
    with pytest.raises(UserError, match="is a folder; expected files"):
        open_source([tmp_path])
    with pytest.raises(UserError, match=r"dataset holds names of files, as .*0.png; expected what is in them"):
        open_source(SLICES([str(path) for path in files]))


def endless():
    while True:
        yield X, Y


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (endless(), "a generator, which can be read once, is given; expected a folder"),
        (endless, "a function is given"),
        (zip(X, Y, strict=True), "a zip, which can be read once, is given"),
        (None, "None is given"),
        (b"photos", "a bytes is given"),
        (7, "an int is given"),
        ({"x": X}, "a dict is given"),
        ([object()], "an object is given in a list"),
        ((X, Y, Y), "a tuple of 3 is given"),
        (((X, Y), (X, Y)), "2 data sets are given as one; give what to train on as data"),
        ([SLICES(X), SLICES(X)], "2 data sets are given as one"),
        ((SLICES(X), Y), "a tf.data.Dataset is given beside a ndarray; give it alone, with its labels inside"),
        ([X, Y], r"a list of arrays \[6\] and \[6, 12, 10, 3\] is given; .* labels as \(x, y\)"),
        ([X[0], X[1, :5]], "expected pictures of one size"),
        ((X, Y[:4]), "6 pictures are given with 4 labels"),
        ((X, 3), "6 pictures are given with 1 labels"),
        (X[:0], "no picture in arrays"),
        ([], "no picture in arrays"),
        (X[0], r"an array \[12, 10, 3\] is given, which is one picture"),
        (Y, r"images are int64 \(6,\)"),
        (X.transpose(0, 3, 1, 2), r"images are uint8 \(6, 3, 12, 10\)"),  # channels first
        (SLICES(X.transpose(0, 3, 1, 2)).batch(2), r"images are uint8 \(None, 3, 12, 10\)"),
        (X > 9, r"images are bool"),
        (X / 127.5 - 1, "images hold numbers from -1 to 1; expected 0..255, or floats 0..1: give them before any"),
        (X / 50.0 - 2, "images hold numbers from -2 to 3.1"),
        (X.astype(np.float32) - 120, "images hold numbers from -120 to 135"),
        (X.astype(np.uint16) * 256, "images hold numbers from 0 to 65280"),
        (np.where(X == 5, np.nan, X), "numbers that are not finite"),
        (SLICES((X, X)), r"labels have the shape \[12, 10, 3\] each"),
        (SLICES(({"x": X}, Y)), "images are a dict"),
        (SLICES(tf.ragged.constant([[[1, 2]], [[3]]])), "images are a RaggedTensorSpec"),
        (SLICES([tf.io.encode_png(X[0]).numpy()]).map(tf.io.decode_image), "images have no known shape"),
        (np.repeat(X, 2, 3), r"images are uint8 \(6, 12, 10, 6\)"),
        (SLICES((X.transpose(0, 3, 1, 2), np.eye(3)[Y])), r"images are uint8 \(3, 12, 10\)"),
        (tf.constant("photos"), r"images are object \(\)"),
        (SLICES((X[None], [1])), r"pictures \(6, 12, 10, 3\) come in batches, but each with one label"),
    ],
)
def test_one_line_for_what_is_none_of_these(data, says):
    with pytest.raises(UserError, match=says) as problem:
        open_source(data)
    assert "\n" not in str(problem.value)
    assert len(str(problem.value)) < 300
