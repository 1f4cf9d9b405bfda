import dataclasses
import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tfssl.base.errors import UserError
from tfssl.export import saved_model
from tfssl.export.checking.check import check
from tfssl.export.checking.golden import NO_PICTURE, Golden, as_objects, make_golden, own_source, read_golden
from tfssl.export.deployment.files import FILES
from tfssl.export.saved_model import export
from tfssl.export.signatures.encoder import encoder_signatures
from tfssl.export.versions import new_version, newest_version
from tfssl.models.trunks import Trunk, make_encoder, make_trunk
from tfssl.pipelines.decoding import picture_crops
from tfssl.pipelines.sources.any_source import open_source
from tfssl.runs.config import RunSettings

pytestmark = pytest.mark.usefixtures("loaded_once")

SIZE = 24
DATA = "toy:images(count=30, size=32)"
QUIET = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}


@dataclasses.dataclass(frozen=True)
class SmallRun:
    """What `export` asks of a run."""

    trunk: Trunk
    settings: RunSettings
    data: dict[str, Any]
    sound: None = None
    words: None = None
    evaluation: dict[str, Any] = dataclasses.field(default_factory=dict)

    def encoder(self, stage=None, pooled=True, pool=1):
        return make_encoder(self.trunk, SIZE, stage, pooled, pool)

    def tasks(self):
        return []


@pytest.fixture(scope="module")
def run():
    keras.utils.set_random_seed(0)
    trunk = make_trunk("resnet10(width=8)", SIZE)
    rng = np.random.default_rng(0)
    trunk.body.set_weights([w + 0.02 * rng.normal(size=w.shape) for w in trunk.body.get_weights()])
    settings = RunSettings(
        tasks="rotation", trunk="resnet10(width=8)", size=SIZE, epochs=1, steps_per_epoch=1, stages=trunk.stages
    )
    return SmallRun(trunk, settings, {"name": DATA, "fingerprint": open_source(DATA).fingerprint})


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    return export(run, tmp_path_factory.mktemp("export") / "models")


def with_orientation(jpeg, orientation):
    """The JPEG with an EXIF block, little-endian, that says how it is to be turned."""
    tiff = b"II*\0" + (8).to_bytes(4, "little") + (1).to_bytes(2, "little")
    tiff += (0x0112).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little")
    tiff += orientation.to_bytes(2, "little") + bytes(6)
    block = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]


def jpegs():
    """A plain one, one that is to be turned, one of another shape."""
    rng = np.random.default_rng(3)
    smooth = [tf.image.resize(rng.integers(0, 256, (4, 5, 3)), shape) for shape in ((40, 60), (48, 32), (120, 130))]
    plain, turned, large = (tf.io.encode_jpeg(tf.cast(image, tf.uint8), quality=95).numpy() for image in smooth)
    return [plain, with_orientation(turned, 6), large]


@pytest.fixture
def hollow(monkeypatch):
    """Exports write no real SavedModel: for tests of folders alone."""

    def write(signatures, folder, tracked=()):
        (folder / "saved_model.pb").write_bytes(b"hollow")

    monkeypatch.setattr(saved_model, "write_saved_model", write)
    monkeypatch.setattr(saved_model, "write_warm_up", lambda folder, name: None)
    monkeypatch.setattr(saved_model, "write_deployment", lambda folder, version: ())


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.smoke
def test_what_is_written(run, exported):
    folder = Path(exported.saved_model)
    assert folder.name == "1"
    assert exported.as_json() == {
        "saved_model": str(folder),
        "signatures": ["serving_default", "pixels"],
        "embedding_size": 64,
        "layer": "stage4",
        "pool": 1,
        "measured": {},
        "embedding": "stage4, mean over all places; was not measured: tfssl evaluate RUN DATA",
        "tflite": [],
        "onnx": [],
        "word2vec": [],
        "deployment": list(FILES),
    }
    assert sorted(path.name for path in folder.parent.iterdir()) == sorted(["1", *FILES])
    assert {"saved_model.pb", "variables", "encoder.keras", "assets.extra"} <= {path.name for path in folder.iterdir()}
    description = json.loads((folder / "assets.extra" / "encoder.json").read_text())
    assert (
        description.items() >= {"trunk": "resnet10(width=8)", "layer": "stage4", "size": SIZE, "dimensions": 64}.items()
    )
    assert description["versions"].items() >= {"tensorflow": tf.__version__, "keras": keras.__version__}.items()
    readable = os.stat(folder).st_mode & 0o777
    assert readable == os.stat(folder.parent).st_mode & 0o777  # a server of another user must get in


@pytest.mark.smoke
def test_golden_vectors_are_of_the_runs_own_pictures_and_replay(run, exported):
    golden = read_golden(Path(exported.saved_model) / "assets.extra" / "golden.npz")
    encoded, answer = golden.inputs["image_bytes"], golden.answers["serving_default"]
    assert len(encoded) == 12
    assert set(encoded[:-1]) <= set(open_source(DATA).encoded)
    assert encoded[-1] == NO_PICTURE
    np.testing.assert_array_equal(answer["valid"], [True] * 11 + [False])
    np.testing.assert_array_equal(answer["embedding"][-1], 0)
    expected = run.encoder()(golden.inputs["pixels"]).numpy()
    np.testing.assert_allclose(answer["embedding"][:-1], expected[:-1], atol=1e-6)
    np.testing.assert_allclose(golden.answers["pixels"]["embedding"], expected, atol=1e-6)
    found = check(Path(exported.saved_model).parent)
    assert found.ok
    assert [(one.name, one.rows) for one in found.replays] == [("serving_default", 12), ("pixels", 12)]
    for one in found.replays:
        largest = np.abs(golden.answers[one.name]["embedding"]).max()
        assert one.difference <= one.tolerance == pytest.approx(1e-5 * max(1, largest))
        assert one.cosine > 1 - 1e-6
    assert "as measured" in str(found)
    assert check(exported.saved_model).as_json() == found.as_json()


def test_a_check_notices_other_weights_and_other_decoding(exported, tmp_path):
    folder = tmp_path / "1"
    shutil.copytree(exported.saved_model, folder)
    path = folder / "assets.extra" / "golden.npz"
    golden = read_golden(path)
    answer = golden.answers["serving_default"]
    answer["embedding"] += 1e-3 * answer["valid"][:, None]
    golden.write(path)
    found = check(tmp_path)
    assert not found.ok
    assert [one.ok for one in found.replays] == [False, True]
    assert found.replays[0].difference == pytest.approx(1e-3, rel=0.1)
    assert "NOT as measured" in str(found)
    answer["embedding"] -= 1e-3 * answer["valid"][:, None]
    answer["valid"][-1] = True
    golden.write(path)
    found = check(tmp_path)
    assert [one.wrong for one in found.replays] == [1, 0]
    assert not found.ok
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"cannot be replayed .*; export the run again"):
        check(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match="no golden vectors"):
        check(tmp_path)


def test_a_source_that_is_gone_or_another_gives_way_to_the_toy_world(run, caplog):
    cases = {
        "cannot be opened": {"name": "/no/such/folder", "fingerprint": "x"},
        "has changed since": {"name": DATA, "fingerprint": "another"},
    }
    for told, data in cases.items():
        assert own_source(data) is None
        assert told in caplog.text
    golden = make_golden(encoder_signatures(run.encoder(), SIZE), None)
    assert golden.answers["serving_default"]["valid"].sum() == 11
    assert set(golden.inputs["image_bytes"][:-1]) == set(open_source("toy:images(count=11)").encoded)


ALONE = """
import sys
sys.path = [entry for entry in sys.path if entry]
import keras, numpy, tensorflow as tf

loaded = tf.saved_model.load(VERSION)
rows = [open(f"{k}.jpg", "rb").read() for k in range(4)]
found = loaded.signatures["serving_default"](image_bytes=tf.constant(rows))
alone = [loaded.signatures["serving_default"](image_bytes=tf.constant([row]))["embedding"][0] for row in rows]
numpy.savez("out.npz", embedding=found["embedding"], valid=found["valid"], alone=alone)

images = numpy.load("images.npy")
labels = numpy.arange(len(images)) % 2
for trainable in (False, True):
    encoder = keras.models.load_model(VERSION + "/encoder.keras")
    numpy.save(f"before_{trainable}.npy", encoder(images))
    weights = encoder.get_weights()
    encoder.trainable = trainable
    model = keras.Sequential([encoder, keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels, epochs=2, verbose=0)
    changed = [not numpy.array_equal(a, b) for a, b in zip(weights, encoder.get_weights())]
    assert any(changed) is trainable, changed

foreign = [name for name in sys.modules if name.split(".")[0] in ("tfssl", "pipelines", "export")]
assert not foreign, foreign
"""
"""A program with TensorFlow alone: it calls the SavedModel, and puts encoder.keras into a fit of its own."""


@pytest.fixture(scope="module")
def alone(exported, tmp_path_factory):
    """What that program was given, and wrote."""
    folder = tmp_path_factory.mktemp("alone")
    for k, picture in enumerate([*jpegs(), b"\xff\xd8\xff no JPEG"]):
        (folder / f"{k}.jpg").write_bytes(picture)
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (16, SIZE, SIZE, 3), "uint8"))
    program = f"VERSION = {str(exported.saved_model)!r}\n{ALONE}"
    environment = {key: value for key, value in QUIET.items() if key != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.smoke
def test_a_process_with_tensorflow_alone_gets_the_same_embeddings(run, alone):
    pictures = [(alone / f"{k}.jpg").read_bytes() for k in range(4)]
    images, valid = picture_crops.pictures(tf.constant(pictures), SIZE)
    np.testing.assert_array_equal(valid, [True, True, True, False])
    expected = run.encoder()(images).numpy()
    expected[3] = 0
    unturned = run.encoder()(picture_crops.pictures(tf.constant([jpegs()[1][:2] + jpegs()[1][38:]]), SIZE)[0])
    assert np.abs(unturned - expected[1]).max() > 1e-2  # the orientation matters to the embedding
    out = np.load(alone / "out.npz")
    np.testing.assert_array_equal(out["valid"], valid)
    np.testing.assert_allclose(out["embedding"], expected, atol=1e-5)
    np.testing.assert_allclose(out["alone"], expected, atol=1e-5)


def test_encoder_keras_in_somebodys_own_fit(run, alone):
    """Frozen or not: the program sees that its weights change or do not."""
    expected = run.encoder()(np.load(alone / "images.npy"))
    for trainable in (False, True):
        np.testing.assert_allclose(np.load(alone / f"before_{trainable}.npy"), expected, atol=1e-5)


def test_a_session_loads_both_signatures_as_a_server_does(run, exported):
    pictures = jpegs()
    images = picture_crops.pictures(tf.constant(pictures), SIZE)[0].numpy()
    expected = run.encoder()(images).numpy()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], str(exported.saved_model)).signature_def
        for name, key, value in (("serving_default", "image_bytes", pictures), ("pixels", "pixels", images)):
            outputs = {key: tensor.name for key, tensor in signatures[name].outputs.items()}
            found = session.run(outputs, {signatures[name].inputs[key].name: value})
            np.testing.assert_allclose(found["embedding"], expected, atol=1e-5)


def test_another_layer_and_nothing_is_printed(run, tmp_path, capfd):
    done = export(run, tmp_path, stage="stage2")
    assert done.embedding_size == 16
    assert check(tmp_path).ok
    assert capfd.readouterr() == ("", "")
    description = json.loads((tmp_path / "1" / "assets.extra" / "encoder.json").read_text())
    assert description["layer"] == "stage2"
    assert description["dimensions"] == 16
    with pytest.raises(UserError, match="no stage 'stage9'; its stages are"):
        export(run, tmp_path, stage="stage9")
    for pool in (0, 4, True):
        with pytest.raises(UserError, match=f"--pool {pool} is given, expected 1 to 3: the map of stage4 has 3 x 3"):
            export(run, tmp_path, pool=pool)
    assert sorted(os.listdir(tmp_path)) == sorted(["1", *FILES])


@pytest.mark.smoke
def test_versions(run, tmp_path, hollow):
    assert export(run, tmp_path, version=4).saved_model == tmp_path / "4"
    assert tfssl.export(run, tmp_path).saved_model == tmp_path / "5"
    (tmp_path / "7").mkdir()  # somebody's, perhaps being copied
    (tmp_path / "note").write_text("mine")
    before = files(tmp_path)
    for version in (4, 5, 7):
        with pytest.raises(UserError, match=f"has a version {version} already; give another --version"):
            export(run, tmp_path, version=version)
    for version in (0, -1, True, "1", 2**63, 99999999999999999999):
        with pytest.raises(UserError, match=f"version={version!r} is given, expected .*from 1 to 9223372036854775807"):
            export(run, tmp_path, version=version)
    assert files(tmp_path) == before
    assert newest_version(tmp_path) == tmp_path / "5"
    assert export(run, tmp_path).saved_model == tmp_path / "8"
    assert newest_version(tmp_path) == newest_version(tmp_path / "8") == tmp_path / "8"


def test_two_exports_at_once_take_two_numbers(tmp_path):
    with new_version(tmp_path, None) as (first, one):
        (first / "a").write_text("first")
        with new_version(tmp_path, None) as (second, other):
            (second / "a").write_text("second")
    assert (one[0].name, other[0].name) == ("2", "1")
    assert (tmp_path / "2" / "a").read_text() == "first"

    def overtaken():
        with new_version(tmp_path, 3) as (mine, _):
            (mine / "a").write_text("mine")
            (tmp_path / "3").mkdir()

    with pytest.raises(UserError, match="has a version 3"):
        overtaken()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "3"]
    assert not list((tmp_path / "3").iterdir())


def test_nothing_is_seen_before_it_is_whole(run, tmp_path, monkeypatch, hollow):
    seen = []
    save = keras.Model.save

    def watched(model, path, *arguments, **settings):
        seen.extend(name for name in os.listdir(tmp_path / "models"))
        return save(model, path, *arguments, **settings)

    monkeypatch.setattr(keras.Model, "save", watched)
    export(run, tmp_path / "models")
    assert seen
    assert all(name.startswith(".") for name in seen)
    assert os.listdir(tmp_path / "models") == ["1"]


def test_a_failure_leaves_nothing(run, tmp_path, monkeypatch, hollow):
    export(run, tmp_path / "old")
    before = files(tmp_path)

    def full(*arguments, **settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    for folder in (tmp_path / "old", tmp_path / "new" / "deep"):
        with pytest.raises(UserError, match="the disk is full"):
            export(run, folder)
    assert files(tmp_path) == before
    assert os.listdir(tmp_path) == ["old"]
    assert os.listdir(tmp_path / "old") == ["1"]


def test_a_disk_that_takes_no_more_while_tensorflow_writes(run, tmp_path):
    """A limit on the size of files stands for a full disk: the same path through TensorFlow's own writer."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(UserError, match=f"^cannot write {tmp_path}/models: file too large; free some space"):
            export(run, tmp_path / "models")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(run, tmp_path, hollow):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file; expected a folder"):
        export(run, tmp_path / "file")
    with pytest.raises(UserError, match="cannot write"):
        export(run, tmp_path / "file" / "models")
    assert (tmp_path / "file").read_text() == "mine"


def test_no_export(tmp_path):
    with pytest.raises(UserError, match=r"is no export \(it does not exist"):
        check(tmp_path / "missing")
    (tmp_path / "1").mkdir()
    with pytest.raises(UserError, match=r"is no export \(it holds no SavedModel"):
        check(tmp_path)


def test_golden_vectors_survive_bytes_that_end_in_zeros():
    rows, vectors = as_objects([b"a\0\0", b"", b"\0b"]), np.eye(3, dtype="f4")
    answers = {"serving_default": {"embedding": vectors}, "colorize": {"png_bytes": rows[:2]}}
    buffer = io.BytesIO()
    Golden({"image_bytes": rows}, answers).write(buffer)
    buffer.seek(0)
    found = read_golden(buffer)
    assert found.inputs["image_bytes"].tolist() == rows.tolist()
    assert found.answers["colorize"]["png_bytes"].tolist() == [b"a\0\0", b""]
    np.testing.assert_array_equal(found.answers["serving_default"]["embedding"], vectors)
    assert found.arguments("colorize")["image_bytes"].tolist() == [b"a\0\0", b""]
