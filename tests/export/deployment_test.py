"""What an export holds for TensorFlow Serving: warm-up records that replay, files that its parsers take."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from tests.support.fake_server import Fake, rest
from tfssl.base.errors import UserError
from tfssl.export.checking.golden import read_golden
from tfssl.export.deployment import files, measuring, warm_up
from tfssl.export.deployment.examples import example, input_specs
from tfssl.export.deployment.measuring import Speed
from tfssl.export.saved_model import Exported
from tfssl.export.signatures.bounds import MAX_ROWS
from tfssl.export.versions import new_version, newest_version

yaml = pytest.importorskip("yaml")

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture(scope="module")
def records(toy_export):
    """The PredictionLogs of an export, and their bytes."""
    path = toy_export / "1" / "assets.extra" / "tf_serving_warmup_requests"
    rows = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    return [prediction_log_pb2.PredictionLog.FromString(row) for row in rows], b"".join(rows)


@pytest.fixture
def written(toy_export, tmp_path, monkeypatch):
    """A folder `Our Photos (new)` with all files, of speeds that are given."""
    speeds = [Speed(1, 20.0, 50.0), Speed(4, 40.0, 100.0), Speed(16, 130.0, 123.0), Speed(64, 512.0, 125.0)]
    monkeypatch.setattr(files, "measure", lambda version: speeds)
    folder = tmp_path / "Our Photos (new)"
    folder.mkdir()
    assert files.write_deployment(folder, toy_export / "1") == files.FILES
    return folder


def test_warm_up_records_replay_on_the_model(toy_export, records):
    loaded = tf.saved_model.load(str(toy_export / "1"))
    seen = []
    for log in records[0]:
        request = log.predict_log.request
        assert request.model_spec.name == "models"
        assert log.WhichOneof("log_type") == "predict_log"
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        found = loaded.signatures[request.model_spec.signature_name](**inputs)
        (rows,) = {len(value) for value in inputs.values()}
        seen.append((request.model_spec.signature_name, rows))
        assert {len(value) for value in found.values()} == {rows}
        if "valid" in found:
            assert found["valid"].numpy().all()
    names = sorted(loaded.signatures)
    assert names == ["pixels", "predict_rotation", "serving_default"]
    assert sorted(seen) == [(name, rows) for name in names for rows in (1, 4, 16)]


def test_warm_up_records_hold_no_picture_of_the_run(toy_export, records):
    golden = read_golden(toy_export / "1" / "assets.extra" / "golden.npz")
    pictures = golden.inputs["image_bytes"]
    assert len(pictures) == 12
    assert not any(picture in records[1] for picture in pictures)


def test_a_request_is_made_up_for_any_signature(tmp_path):
    module = tf.Module()
    specs = [tf.TensorSpec([None], tf.string, "image_bytes"), tf.TensorSpec([None, 7], tf.float32, "waveform")]
    both = tf.function(lambda image_bytes, waveform: {"sum": tf.reduce_sum(waveform, 1)}, input_signature=specs)
    tf.saved_model.save(module, str(tmp_path), {"localise": both})
    assert list(input_specs(tmp_path)) == ["localise"]
    made = example(input_specs(tmp_path)["localise"], 3, (20, 30))
    assert [tf.io.decode_jpeg(data).shape for data in made["image_bytes"]] == [(20, 30, 3)] * 3
    assert made["waveform"].shape == (3, 7)
    assert made["waveform"].dtype == np.float32
    assert 0 < np.abs(made["waveform"]).max() <= 0.1
    (tmp_path / "assets.extra").mkdir()
    warm_up.write_warm_up(tmp_path, "any")
    assert sum(1 for _ in tf.data.TFRecordDataset(str(tmp_path / "assets.extra" / warm_up.FILE))) == 3


def test_models_config(written):
    parsed = text_format.Parse((written / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    (config,) = parsed.model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == (
        "our-photos-new",
        "/models/our-photos-new",
        "tensorflow",
    )
    assert config.model_version_policy.latest.num_versions == 1
    # What its comment offers for going back.
    (back,) = re.findall("model_version_policy {.*specific.*", (written / "models.config").read_text())
    pinned = text_format.Parse(back, model_server_config_pb2.ModelConfig())
    assert list(pinned.model_version_policy.specific.versions) == [1]


def batching_parameters():
    """A message like BatchingParameters in TensorFlow Serving's session_bundle_config.proto, which no package has."""
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", package="test", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    message = file.message_type.add(name="BatchingParameters")
    types = {"thread_pool_name": "StringValue", "enable_large_batch_splitting": "BoolValue"}
    names = ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"]
    names += ["thread_pool_name", "enable_large_batch_splitting", "max_execution_batch_size"]
    for number, name in enumerate(names, 1):
        kind = types.get(name, "Int64Value")
        message.field.add(name=name, number=number, label=1, type=11, type_name=f".google.protobuf.{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.BatchingParameters"))()


def test_batching_config(written):
    text = (written / "batching.config").read_text()
    found = text_format.Parse(text, batching_parameters())
    assert found.max_batch_size.value == MAX_ROWS
    assert found.enable_large_batch_splitting.value is True
    assert found.max_execution_batch_size.value == 16  # 123 of 125 a second
    assert found.batch_timeout_micros.value == 2000  # a tenth of 20 ms
    assert found.num_batch_threads.value == os.cpu_count()
    assert found.max_enqueued_batches.value == 128
    assert re.findall(r"^# +(\d+) +([\d.]+) +(\d+)$", text, re.MULTILINE) == [
        ("1", "20.0", "50"),
        ("4", "40.0", "100"),
        ("16", "130.0", "123"),
        ("64", "512.0", "125"),
    ]
    assert f"TensorFlow {tf.__version__}), with version 1" in text


def test_speeds_are_measured(toy_export, monkeypatch):
    found = measuring.measure(toy_export / "1")
    assert [speed.rows for speed in found] == [1, 4, 16, 64]
    assert all(speed.per_second == pytest.approx(1000 * speed.rows / speed.milliseconds) for speed in found)
    assert found[3].milliseconds > 2 * found[0].milliseconds
    monkeypatch.setattr(measuring, "SLOW", 0.0)
    assert [speed.rows for speed in measuring.measure(toy_export / "1")] == [1]


def test_compose(written):
    (name, service), *rest_of = yaml.safe_load((written / "compose.yaml").read_text())["services"].items()
    assert (name, rest_of) == ("our-photos-new", [])
    assert service["image"].startswith("tensorflow/serving:")
    assert service["user"] == "65534:65534"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    mount = {"type": "bind", "source": ".", "target": "/models/our-photos-new", "read_only": True}
    assert service["volumes"] == [mount]
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    flags = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    assert (flags["port"], flags["rest_api_port"]) == ("8500", "8501")
    for flag in ("model_config_file", "batching_parameters_file"):
        assert (written / os.path.relpath(flags[flag], mount["target"])).is_file()


def test_the_health_check_tells_a_model_that_answers(written):
    (service,) = yaml.safe_load((written / "compose.yaml").read_text())["services"].values()
    kind, shell, *program = service["healthcheck"]["test"]
    assert (kind, shell) == ("CMD", "bash")

    def healthy(address, name="encoder"):
        text = program[1].replace("8501", address.rpartition(":")[2]).replace("our-photos-new", name)
        return subprocess.run([shell, program[0], text], capture_output=True, timeout=10).returncode == 0

    fake = Fake()
    with rest(fake) as address:
        assert healthy(address)
        assert not healthy(address, "another")
        fake.versions = []
        assert not healthy(address)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert not healthy(f"http://127.0.0.1:{free.getsockname()[1]}")


def test_kubernetes(written):
    deployment, service, scaler = yaml.safe_load_all((written / "kubernetes.yaml").read_text())
    assert [each["kind"] for each in (deployment, service, scaler)] == [
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
    ]
    assert {each["metadata"]["name"] for each in (deployment, service, scaler)} == {"our-photos-new"}
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert labels == deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    pod = template["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["image"].startswith("tensorflow/serving:")
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v1/models/our-photos-new", "port": "rest"}
    assert container["livenessProbe"]["tcpSocket"]["port"] in ports
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["models"]["readOnly"] is True
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == set(ports)
    target = scaler["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "our-photos-new"}
    assert scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]
    assert "cpu" in container["resources"]["requests"]  # what the autoscaler's share is of
    (compose,) = yaml.safe_load((written / "compose.yaml").read_text())["services"].values()
    assert container["args"] == compose["command"]


def test_files_of_the_user_stay_as_they_are(toy_export, written):
    (written / "compose.yaml").write_text("mine")
    (written / "kubernetes.yaml").unlink()
    (written / "models.config").unlink()
    (written / "models.config").symlink_to("elsewhere")
    before = (written / "batching.config").stat().st_mtime_ns
    assert files.write_deployment(written, toy_export / "1") == ("kubernetes.yaml",)
    assert (written / "compose.yaml").read_text() == "mine"
    assert (written / "models.config").is_symlink()
    assert (written / "batching.config").stat().st_mtime_ns == before
    assert all(os.stat(written / name).st_mode & 0o444 == 0o444 for name in ("kubernetes.yaml", "batching.config"))


NAMES = [
    # folder, model, the same on TensorFlow Serving, Kubernetes
    ("models/encoder", "encoder", "encoder", "encoder"),
    ("my_encoder", "my_encoder", "my_encoder", "my-encoder"),
    ("Photos.v2/", "Photos.v2", "Photos.v2", "photos-v2"),
    ("a/../2024", "2024", "2024", "encoder-2024"),
    ("x" * 60, "x" * 60, "x" * 60, "x" * 40),
    ("Ä__b", "Ä__b", "b", "b"),
    ("Our Photos (new)", "Our Photos (new)", "our-photos-new", "our-photos-new"),
    ("run 10:30", "run 10-30", "run-10-30", "run-10-30"),
    ("caf\udce9", "caf\ufffd", "caf", "caf"),
    ("/", "encoder", "encoder", "encoder"),
]


@pytest.mark.parametrize(("folder", "model", "deployed", "resource"), NAMES)
def test_names(folder, model, deployed, resource):
    """The model is named after the folder; what cannot take that has another name, and it is said."""
    assert files.model_name(folder) == model
    assert files.deployed_name(folder) == deployed
    assert files.resource_name(folder) == resource
    said = files.differing_names(folder)
    own = Path(folder).name
    assert (f"their model is named {deployed}," in said) == (deployed != own)
    assert (f"services are named {resource} in them" in said) == (resource not in (own, deployed))


def test_the_name_of_a_link_and_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "v_7").mkdir()
    (tmp_path / "my_encoder").symlink_to("v_7")
    assert files.model_name(tmp_path / "my_encoder") == "my_encoder"
    monkeypatch.chdir(tmp_path / "v_7")
    assert files.model_name(".") == files.model_name("") == "v_7"


def test_files_of_a_folder_whose_name_kubernetes_does_not_take(toy_export, written, tmp_path):
    """TensorFlow Serving answers under the folder's name, where it is looked for: in the probes too."""
    folder = tmp_path / "my_encoder"
    folder.mkdir()
    files.write_deployment(folder, toy_export / "1")
    text = (folder / "models.config").read_text()
    (config,) = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    assert (config.name, config.base_path) == ("my_encoder", "/models/my-encoder")
    ((name, service),) = yaml.safe_load((folder / "compose.yaml").read_text())["services"].items()
    assert name == "my-encoder"
    assert service["volumes"][0]["target"] == config.base_path
    assert "GET /v1/models/my_encoder HTTP/1.0" in service["healthcheck"]["test"][-1]
    deployment, *others = yaml.safe_load_all((folder / "kubernetes.yaml").read_text())
    assert {each["metadata"]["name"] for each in (deployment, *others)} == {"my-encoder"}
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v1/models/my_encoder"
    assert container["volumeMounts"][0]["mountPath"] == config.base_path
    exported = Exported(folder / "1", (), 3, "stage1", 1, {}, "mean", deployment=("models.config",))
    said = "beside it models.config: services are named my-encoder in them, as Kubernetes does not take 'my_encoder'"
    assert str(exported).splitlines()[-1] == said
    line = "# services are named my-encoder in them, as Kubernetes does not take 'my_encoder'.\n"
    assert all(line in (folder / file).read_text() for file in ("models.config", "compose.yaml", "kubernetes.yaml"))
    assert "# their model is named our-photos-new, as" in (written / "kubernetes.yaml").read_text()


def test_a_new_version_beside_the_old_one_and_back(toy_export, tmp_path):
    """A server takes folders whose name is a number, and of these the largest."""
    shutil.copytree(toy_export, tmp_path / "models")
    folder = tmp_path / "models"
    with new_version(folder, None) as (building, _):
        shutil.copytree(folder / "1", building, dirs_exist_ok=True)
        assert newest_version(folder) == folder / "1"
    assert newest_version(folder) == folder / "2"
    (folder / "2").rename(folder / "withdrawn-2")
    assert newest_version(folder) == folder / "1"
    (folder / "withdrawn-2").rename(folder / "2")
    assert newest_version(folder) == folder / "2"
    (folder / "2").rename(folder / "withdrawn-2")
    with new_version(folder, 3) as (building, _):
        shutil.copytree(folder / "1", building, dirs_exist_ok=True)
    assert newest_version(folder) == folder / "3"
    with pytest.raises(UserError, match="has a version 3"):
        new_version(folder, 3).__enter__()
