"""New versions take over without a lost request; removed ones are rolled back; broken ones leave the old one alone."""

import logging
import shutil
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tests.support.tiny_models import write_version
from tfssl.base.errors import UserError
from tfssl.export.server.errors import RequestError
from tfssl.export.server.versions import State, Versions, check_folder
from tfssl.export.server.warm_up import RECORDS
from tfssl.export.versions import new_version, newest_version

PIXELS = {"pixels": np.full((2, 16, 16, 3), 51, np.uint8)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Versions 1, 2 and 3. For copying only."""
    folder = tmp_path_factory.mktemp("made")
    for number in (1, 2, 3):
        write_version(folder, number)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    folder = tmp_path / "encoder"
    folder.mkdir()
    shutil.copytree(made / "1", folder / "1")
    return folder


@pytest.fixture
def versions(folder):
    versions = Versions(folder, "encoder")
    versions.poll()
    yield versions
    versions.close()


def add(made, folder, number: int) -> None:
    """As the exporter does it: whole, by a rename."""
    shutil.copytree(made / str(number), folder / ".building")
    (folder / ".building").rename(folder / str(number))


def answering(versions) -> int:
    """The number of the version that answers, as its embedding tells it."""
    with versions.use() as model:
        embedding = model.predict("pixels", PIXELS)["embedding"]
        number = model.number
    np.testing.assert_allclose(embedding, np.full((2, 3), number + 0.2), atol=1e-5)
    return number


def states(versions) -> dict[int, int]:
    return {status.number: status.state for status in versions.statuses()}


def test_newest_takes_over_and_a_removed_one_is_rolled_back(made, folder, versions):
    assert answering(versions) == 1
    add(made, folder, 2)
    versions.poll()
    assert answering(versions) == 2
    assert states(versions) == {2: State.AVAILABLE, 1: State.END}
    with pytest.raises(RequestError, match=r"Servable not found for request: Specific\(encoder, 1\)"), versions.use(1):
        pass
    shutil.move(folder / "2", folder.parent / "removed")
    versions.poll()
    assert answering(versions) == 1
    assert states(versions) == {2: State.END, 1: State.AVAILABLE}
    shutil.rmtree(folder / "1")
    versions.poll()
    with pytest.raises(RequestError, match=r"Latest\(encoder\)"), versions.use():
        pass


def test_an_old_version_goes_when_its_last_request_has_ended(made, folder, versions):
    with versions.use() as old:
        add(made, folder, 2)
        versions.poll()
        assert answering(versions) == 2
        assert states(versions)[1] == State.UNLOADING
        embedding = old.predict("pixels", PIXELS)["embedding"]
        np.testing.assert_allclose(embedding, np.full((2, 3), 1.2), atol=1e-5)
    assert states(versions)[1] == State.END


def test_a_broken_version_is_told_and_leaves_the_old_one(made, folder, versions, caplog):
    (folder / "2").mkdir()
    versions.poll()
    assert answering(versions) == 1  # without saved_model.pb nobody has finished writing it
    (folder / "2" / "saved_model.pb").write_bytes(b"no model")
    with caplog.at_level(logging.WARNING, "tfssl"):
        versions.poll()
        versions.poll()
    assert answering(versions) == 1
    (told,) = caplog.messages
    assert str(folder / "2") in told
    assert "version 1 stays in service" in told
    (status,) = (status for status in versions.statuses() if status.number == 2)
    assert status.state == State.END
    assert status.problem
    shutil.rmtree(folder / "2")
    shutil.copytree(made / "2", folder / "2")  # mended
    versions.poll()
    assert answering(versions) == 2


def test_variables_that_lack_are_a_broken_version(made, folder, versions):
    """As while somebody copies a version file by file."""
    shutil.copytree(made / "2", folder / "2", ignore=shutil.ignore_patterns("variables"))
    versions.poll()
    assert answering(versions) == 1
    shutil.copytree(made / "2" / "variables", folder / "2" / "variables")
    versions.poll()
    assert answering(versions) == 2


@pytest.mark.parametrize("good", [True, False])
def test_warm_up_records_are_replayed(made, folder, versions, good):
    """Those of a version that refuses them keep it from being served, as in TensorFlow Serving."""
    request = predict_pb2.PredictRequest(model_spec={"name": "any", "signature_name": "pixels"})
    pixels = PIXELS["pixels"] if good else PIXELS["pixels"][:, 1:]
    request.inputs["pixels"].CopyFrom(tf.make_tensor_proto(pixels))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    shutil.copytree(made / "2", folder.parent / "2")
    (folder.parent / "2" / RECORDS).parent.mkdir()
    with tf.io.TFRecordWriter(str(folder.parent / "2" / RECORDS)) as file:
        file.write(log.SerializeToString())
    (folder.parent / "2").rename(folder / "2")
    versions.poll()
    assert answering(versions) == (2 if good else 1)


def test_no_request_is_lost_when_versions_change(made, folder, versions):
    """Four threads ask without a pause while two versions come, and one goes."""
    asking, back, seen, after, problems = threading.Event(), threading.Event(), [], [], []

    def ask() -> None:
        while not asking.is_set():
            begun_after = back.is_set()
            try:
                (after if begun_after else seen).append(answering(versions))
            except Exception as problem:
                problems.append(problem)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in (2, 3):
        time.sleep(0.1)
        add(made, folder, number)
        versions.poll()
    shutil.rmtree(folder / "3")
    versions.poll()
    back.set()
    time.sleep(0.1)
    asking.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert set(seen) == {1, 2, 3}
    assert [*after, answering(versions)] == [2] * (len(after) + 1)
    assert states(versions) == {3: State.END, 2: State.AVAILABLE, 1: State.END}


def test_numbers_that_no_version_can_have(made, folder, versions, caplog, tmp_path):
    """Servers hold a version in 64 bits with a sign: what is larger is never tried, and is said once."""
    largest = 2**63 - 1
    shutil.copytree(made / "2", folder / str(largest + 1))
    (folder / "99999999999999999999").mkdir()
    (folder / "0").mkdir()
    with caplog.at_level(logging.WARNING, "tfssl"):
        versions.poll()
        versions.poll()
    assert answering(versions) == 1
    assert states(versions) == {1: State.AVAILABLE}
    assert newest_version(folder) == folder / "1"
    first, second = caplog.messages
    assert first == (
        f"{folder / str(largest + 1)} is not served: {largest + 1} is larger than the largest version there can be, "
        f"{largest}"
    )
    assert second.startswith(f"{folder / '99999999999999999999'} is not served: ")

    (folder / "1").rename(tmp_path / "gone")
    alone = Versions(folder, "encoder")
    alone.poll()
    assert alone.current is None
    assert alone.problem().startswith(f"{largest + 1} is larger than the largest version there can be, {largest}; ")

    (folder / str(largest + 1)).rename(folder / str(largest))
    versions.poll()
    with versions.use() as model:
        assert model.number == largest
    with pytest.raises(UserError, match=f"has the largest version there can be, {largest}; give a free --version"):
        new_version(folder, None).__enter__()


def test_folders_that_hold_no_versions(folder, tmp_path):
    with pytest.raises(UserError, match="is one version of an export"):
        check_folder(folder / "1")
    with pytest.raises(UserError, match="does not exist"):
        check_folder(tmp_path / "nowhere")
