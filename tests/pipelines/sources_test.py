import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfssl.base.errors import UserError
from tfssl.pipelines import batches
from tfssl.pipelines.clips import record
from tfssl.pipelines.decoding import headers
from tfssl.pipelines.sources.any_source import absolute_name, open_source, open_splits
from tfssl.pipelines.sources.clips import open_records
from tfssl.pipelines.sources.toy import ToyClips, ToyImages, parse_toy, parse_toy_clips


def picture(path, size=(20, 10), colour=(200, 30, 30), **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **settings)
    return path


@pytest.fixture
def folder(tmp_path):
    picture(tmp_path / "b" / "deep" / "x.jpg", (20, 10))
    picture(tmp_path / "a" / "y.PNG", (8, 9))
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(tmp_path / "a" / "z.jpeg", (30, 40), exif=turned)
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    (tmp_path / "a" / ".hidden.jpg").write_text("left alone")
    return tmp_path


def test_folder(folder):
    source = open_source(folder)
    assert [path.removeprefix(f"{folder}/") for path in source.paths] == ["a/y.PNG", "a/z.jpeg", "b/deep/x.jpg"]
    assert source.classes == ("a", "b")
    np.testing.assert_array_equal(source.labels, [0, 0, 1])
    fields = [headers.Header(*row) for row in source.header]
    assert [(f.format, f.height, f.width, f.orientation) for f in fields] == [
        (headers.PNG, 9, 8, 1),
        (headers.JPEG, 40, 30, 6),
        (headers.JPEG, 10, 20, 1),
    ]
    assert open_source(folder).fingerprint == source.fingerprint
    picture(folder / "a" / "more.jpg")
    assert open_source(folder).fingerprint != source.fingerprint


def test_pictures_beside_folders_have_no_label(folder):
    picture(folder / "top.jpg")
    assert open_source(folder).labels is None


def test_a_link_back_up_is_walked_once(folder):
    (folder / "b" / "up").symlink_to(folder)
    assert open_source(folder).count == 3


def test_broken_files_are_named_and_limited(folder):
    (folder / "a" / "empty.jpg").write_bytes(b"")
    (folder / "a" / "text.png").write_text("hello")
    with pytest.raises(UserError, match=r"2 of 5 pictures .* cannot be read, more than --max-broken 0.01 .*empty.jpg"):
        open_source(folder)
    source = open_source(folder, max_broken=0.5)
    assert (source.count, source.listed) == (3, 5)
    assert sorted(name.rsplit("/", 1)[1] for name in source.broken) == ["empty.jpg", "text.png"]
    np.testing.assert_array_equal(source.labels, [0, 0, 1])


def test_size_behind_the_first_bytes(tmp_path):
    """A thumbnail or colour profile may push the size behind what is read first."""
    path = picture(tmp_path / "x.jpg", (24, 16))
    data = path.read_bytes()
    padding = b"\xff\xe4" + (65000).to_bytes(2, "big") + bytes(64998)
    path.write_bytes(data[:2] + 3 * padding + data[2:])
    assert list(open_source(tmp_path).header[0][1:3]) == [16, 24]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("nowhere", "does not exist"),
        ("toy:sounds", "unknown toy source 'sounds'"),
        ("toy:images(number=3)", "no setting 'number'"),
        ("toy:images(count=0)", "count of at least 1"),
        ("tfds:no_such_dataset_at_all", "cannot open tfds:no_such_dataset_at_all"),
    ],
)
def test_wrong_names(data, says):
    with pytest.raises(UserError, match=says):
        open_source(data)


def test_empty_folder_and_file(tmp_path):
    with pytest.raises(UserError, match="no picture in"):
        open_source(tmp_path)
    (tmp_path / "film.mp4").write_text("")
    with pytest.raises(UserError, match=r"only \.mp4: 1; .* or the clips that `tfssl ingest` makes of films"):
        open_source(tmp_path)
    file = tmp_path / "x.txt"
    file.write_text("")
    with pytest.raises(UserError, match="is a file"):
        open_source(file)


@pytest.mark.smoke
def test_toy_world():
    from tfssl.pipelines import toy_world

    source = open_source("toy:images(count=20, size=32, seed=3)")
    scenes = toy_world.scenes(20, 32, 3)
    np.testing.assert_array_equal(source.labels, scenes.label)
    np.testing.assert_array_equal(tf.io.decode_png(source.encoded[7]), scenes.image[7])
    assert source.classes == toy_world.CLASSES
    assert open_source("toy:images(count=20, size=32, seed=3)") is source  # drawn once for a process


def test_toy_names_are_read_once_for_all():
    assert parse_toy("toy:images") == ToyImages(2000, 64, 0, 0)
    assert parse_toy("toy:clips(seconds=1, start=3)") == ToyClips(200, 64, 1, 0, 3)
    assert parse_toy_clips("toy:clips(count=5, seed=2)") == ToyClips(5, 64, 2.0, 2, 0)
    for wrong, says in {
        "toy:sounds": "unknown toy source 'sounds'; toy sources are: clips, images",
        "toy:clipsandmore": "unknown toy source 'clipsandmore'",
        "toy:images(seconds=2.0)": "toy:images has no setting 'seconds'",
        "toy:clips(seconds=0)": "expected clips of more than 0 seconds",
        "toy:clips(size=15)": "at least 16 pixels",
    }.items():
        with pytest.raises(UserError, match=says):
            open_source(wrong)
    for other in ("toy:images", "film.mp4"):
        with pytest.raises(UserError, match=f"{other} is given, expected 'toy:clips"):
            parse_toy_clips(other)


def test_pictures_and_clips_answer_the_same_questions(folder):
    pictures, clips = open_source(folder), open_source("toy:clips(count=3, size=16, seconds=0.4)")
    assert (pictures.moving, pictures.frame_counts.tolist()) == (False, [1] * pictures.count)
    assert (clips.moving, clips.frame_counts.tolist()) == (True, [5, 5, 5])
    assert (pictures.has_sound.any(), clips.has_sound.all()) == (False, True)
    assert (pictures.sound_rate, clips.sound_rate) == (0, 16000)
    (encoded,) = pictures.encoded_pictures([2])
    with open(pictures.paths[2], "rb") as file:
        assert encoded == file.read()
    for number, frame in zip((1, 2), clips.encoded_pictures([1, 2]), strict=True):
        (batch,) = batches.plain(clips.subset(np.array([number]), "one"), 16, 1)
        np.testing.assert_array_equal(batch["image"][0], tf.io.decode_jpeg(frame, channels=3))
    with pytest.raises(UserError, match="has no sound"):
        batches.plain_sound(pictures, 100, 2)


def test_only_pictures_are_noted_as_broken():
    """A clip of sound alone has no picture, and is not broken."""
    clips = open_source("toy:clips(count=4, size=16, seconds=0.2)")
    nothing = {"frames": [], "frame_times": [], "thumbnails": b""}
    pieces = [record.write(record.read(each) | nothing) for each in clips.encoded]
    heard = open_records("heard", clips.classes, frame_rate=0, sound_rate=16000, fingerprint="", encoded=pieces)
    assert (heard.holds, heard.frame_counts.tolist()) == (("sound",), [0] * 4)
    broken = batches.BrokenPictures(heard)
    (batch,) = batches.training(heard, 16, 4, 0, broken=broken).take(1)
    assert not batch["image"].numpy().any()
    assert broken.names() == {}


@pytest.mark.parametrize("shape", ["alone", "tuple", "dict", "encoded"])
def test_dataset(shape):
    images = np.random.default_rng(0).integers(0, 256, (6, 12, 10, 3), dtype=np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2])
    slices = {"alone": images, "tuple": (images, labels), "dict": {"image": images, "label": labels}}
    if shape == "encoded":
        dataset = tf.data.Dataset.from_tensor_slices(images).map(tf.io.encode_png)
    else:
        dataset = tf.data.Dataset.from_tensor_slices(slices[shape])
    source = open_source(dataset)
    np.testing.assert_array_equal(tf.io.decode_png(source.encoded[4]), images[4])
    assert list(source.header[0][1:3]) == [12, 10]
    if shape in ("tuple", "dict"):
        np.testing.assert_array_equal(source.labels, labels)
        assert source.classes == ("0", "1", "2")
    else:
        assert source.labels is None


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        (tf.data.Dataset.from_tensor_slices({"picture": tf.zeros([2, 4, 4, 3], tf.uint8)}), "has no 'image'"),
        (tf.data.Dataset.from_tensor_slices(tf.zeros([2, 4, 4, 3], tf.bool)), "images are bool"),
        (tf.data.Dataset.from_tensors(tf.zeros([4, 4, 3], tf.uint8)).repeat(), "never ends"),
        (tf.data.Dataset.from_tensor_slices(tf.zeros([0, 4, 4, 3], tf.uint8)), "no picture"),
    ],
)
def test_wrong_dataset(dataset, says):
    with pytest.raises(UserError, match=says):
        open_source(dataset)


def test_tfds(tmp_path, monkeypatch):
    """A dataset that TensorFlow Datasets has prepared, read as it is named on the command line."""
    import tensorflow_datasets as tfds

    images = np.random.default_rng(0).integers(0, 256, (8, 12, 10, 3), dtype=np.uint8)

    class SourcesTestPictures(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = tmp_path  # or it is looked for in a package of this module's name

        def _info(self):
            features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["cat", "dog"])}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number, image in enumerate(images):
                yield number, {"image": image, "label": number % 2}

    monkeypatch.setattr(tfds, "builder", lambda name: SourcesTestPictures(data_dir=tmp_path))
    source = open_source("tfds:sources_test_pictures:train[:75%]")
    assert (source.count, source.classes) == (6, ("cat", "dog"))
    decoded = [tf.io.decode_png(data).numpy().tobytes() for data in source.encoded]
    assert set(decoded) <= {image.tobytes() for image in images}
    for data, label in zip(decoded, source.labels, strict=True):
        assert next(i for i, image in enumerate(images) if image.tobytes() == data) % 2 == label


def test_splits(tmp_path):
    for split, count in (("train", 4), ("val", 2)):
        for label in "ab":
            for number in range(count):
                picture(tmp_path / split / label / f"{number}.png", colour=(number, ord(label), count))
    train, test, note = open_splits(tmp_path)
    assert (train.count, test.count) == (8, 4)
    assert "val" in note
    train, test, note = open_splits(tmp_path / "train", seed=1)
    assert (train.count, test.count) == (6, 2)
    assert "divided 80/20 within each class by split seed 1" in note
    assert not set(train.paths) & set(test.paths)
    np.testing.assert_array_equal(np.bincount(test.labels), [1, 1])
    assert open_splits(tmp_path / "train", seed=1)[1].paths == test.paths
    train, test, note = open_splits(tmp_path / "train", tmp_path / "val")
    assert (train.count, test.count) == (8, 4)
    with pytest.raises(UserError, match="no labels"):
        open_splits(tmp_path / "train" / "a")


def test_parts_are_opened_by_their_names(tmp_path, monkeypatch):
    for label in "ab":
        for number in range(10):
            picture(tmp_path / "data" / label / f"{number}.png", colour=(number, ord(label), 0))
    monkeypatch.chdir(tmp_path)
    for data in ("data", "toy:images(count=60, size=16)"):
        for part in open_splits(data, seed=3)[:2]:
            again = open_source(part.name)
            assert (again.name, again.paths, again.fingerprint) == (part.name, part.paths, part.fingerprint)
    assert part.name == "toy:images(count=60, size=16) (20 %, split seed 3)"
    name = absolute_name("data (80 %, split seed 3)")
    monkeypatch.chdir("/")
    assert name == f"{tmp_path}/data (80 %, split seed 3)"
    assert open_source(name).count == 16
    assert absolute_name(part.name) == part.name
    (tmp_path / "data").rename(tmp_path / "data (80 %, split seed 0)")  # a folder that somebody has called so
    assert open_source(tmp_path / "data (80 %, split seed 0)").count == 20


def test_equal_pictures_stand_on_one_side(tmp_path):
    """Of each picture a copy under another name."""
    for label in "ab":
        for number in range(10):
            for copy in ("x", "y"):
                picture(tmp_path / label / f"{copy}{number}.png", colour=(number, ord(label), 0))
    for seed in range(3):
        train, test, _ = open_splits(tmp_path, seed=seed)
        assert (train.count, test.count) == (32, 8)
        assert not {path[-5] + path.split("/")[-2] for path in train.paths} & {
            path[-5] + path.split("/")[-2] for path in test.paths
        }
    picture(tmp_path / "one" / "a" / "0.png")
    picture(tmp_path / "one" / "b" / "0.png", colour=(0, 0, 0))
    with pytest.raises(UserError, match="cannot be divided: no class has more than one picture"):
        open_splits(tmp_path / "one")
