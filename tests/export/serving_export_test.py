"""A served export: the client, `check --server` and `embed --server` find there what the folder says.

Against the server that `tests.serving_test` finds: TFSSL_SERVING, tensorflow_model_server, or tfssl serve.
"""

import dataclasses
import json
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from tests.export.limits_test import picture
from tests.export.serve_test import NAME, target  # noqa: F401
from tests.support.tiny_models import write_version
from tfssl import serving
from tfssl.base.errors import UserError
from tfssl.cli.main import main
from tfssl.embedding import embed as collection
from tfssl.embedding.embed import embed
from tfssl.embedding.files import Parts, read_record
from tfssl.export.checking.check import check
from tfssl.export.checking.golden import read_golden
from tfssl.export.checking.server_replay import client_of, replay_on_server
from tfssl.export.client import client as clients

pytestmark = pytest.mark.usefixtures("loaded_once")

PICTURES = [picture(), picture("JPEG", 50), b"no picture", picture("GIF", 30)]
DATA = "toy:images(count=40, size=32)"


@pytest.fixture(params=["grpc", "rest"])
def served(request, target):  # noqa: F811
    """The address of a server, and the version that it serves."""
    return {"grpc": target.grpc, "rest": f"http://{target.rest}"}[request.param], target.version


@pytest.fixture
def copied(target, tmp_path):  # noqa: F811
    """A copy of that version, to be changed."""
    return shutil.copytree(target.version, tmp_path / "models" / target.version.name)


@pytest.fixture
def nobody(monkeypatch):
    """An address where nobody listens."""
    monkeypatch.setattr(clients, "PATIENCE", 0.2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{free.getsockname()[1]}"


def change(version, **changes):
    """Writes golden vectors with other answers of `pixels`."""
    path = version / "assets.extra" / "golden.npz"
    golden = read_golden(path)
    golden.answers["pixels"] |= changes
    golden.write(path)


def test_the_client_gives_what_the_saved_model_gives(served):
    address, version = served
    signatures = tf.saved_model.load(str(version)).signatures
    shape = signatures["pixels"].structured_input_signature[1]["pixels"].shape[1:]
    pixels = np.random.default_rng(0).integers(0, 256, (70, *shape), np.uint8)
    with serving.Client(address, model=NAME, version=int(version.name)) as client:
        found = client.embed(PICTURES * 20, invalid="nan")
        expected = signatures["serving_default"](image_bytes=tf.constant(PICTURES * 20))
        np.testing.assert_array_equal(np.isnan(found).all(1), ~expected["valid"].numpy())
        np.testing.assert_allclose(np.nan_to_num(found), expected["embedding"], atol=1e-5)
        with pytest.raises(serving.InvalidRowsError, match="1 of 4 rows have no embedding: row 2 is no picture"):
            client.embed(PICTURES)
        expected = signatures["pixels"](pixels=tf.constant(pixels))["embedding"]
        np.testing.assert_allclose(client.embed(pixels), expected, atol=1e-5)
        assert client.embed(pixels[:0]).shape == (0, expected.shape[1])
        with pytest.raises(UserError, match="row 0 is 5 x 5 x 3, and version"):
            client.embed(pixels[:, :5, :5])
        with pytest.raises(UserError, match="has no signature waveform; its signatures are: pixels, "):
            client.embed(np.zeros((1, 8000)))


def test_a_process_without_tensorflow_gets_an_answer(target, tmp_path):  # noqa: F811
    (tmp_path / "a.png").write_bytes(picture())
    program = (
        "import json, sys, tfssl\n"
        f"with tfssl.serving.Client('http://{target.rest}', model={NAME!r}) as client:\n"
        f"    print(json.dumps(client.embed([{str(tmp_path / 'a.png')!r}]).tolist()))\n"
        "assert not {'tensorflow', 'keras', 'grpc'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
    signature = tf.saved_model.load(str(target.version)).signatures["serving_default"]
    expected = signature(image_bytes=tf.constant([picture()]))["embedding"]
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-5)


def test_check_has_rows_of_the_server(served):
    address, version = served
    found = check(version, address, NAME)
    assert found.ok, str(found)
    rows = {one.name: one for one in found.replays}
    assert {"serving_default", "pixels", "serving_default, server", "pixels, server"} <= set(rows)
    assert rows["pixels, server"].rows == 12
    assert 0 <= rows["pixels, server"].difference <= rows["pixels, server"].tolerance
    assert "pixels, server" in str(found)


def test_check_ends_with_1_where_the_server_answers_otherwise(target, copied, capfd):  # noqa: F811
    golden = read_golden(copied / "assets.extra" / "golden.npz")
    change(copied, embedding=golden.answers["pixels"]["embedding"] + 1)
    with pytest.raises(SystemExit) as end:
        main(["check", str(copied), "--server", target.grpc, "--model-name", NAME, "--json"])
    assert end.value.code == 1
    rows = {row["name"]: row for row in json.loads(capfd.readouterr().out)["replays"]}
    assert rows["serving_default, server"]["ok"] is True
    assert rows["pixels, server"]["ok"] is False
    assert rows["pixels, server"]["difference"] == pytest.approx(1, rel=1e-3)


def test_check_ends_with_2_where_the_server_is_another_one(target, copied, nobody, capfd):  # noqa: F811
    address = target.grpc
    later = copied.rename(copied.with_name("9"))
    for server, name, says in (
        (address, NAME, f"{address} has no version 9 of {NAME}; its versions are: {target.version.name} ("),
        (address, "nobody", f"{address} has no model nobody; give the name that the server was started with ("),
        (address, None, f"{address} has no model models; give the name"),
        (nobody, NAME, f"no server answers for {NAME} at {nobody} ("),
    ):
        given = ["--model-name", name] if name else []
        with pytest.raises(SystemExit) as end:
            main(["check", str(later), "--server", server, *given])
        output, errors = capfd.readouterr()
        assert (end.value.code, output, len(errors.splitlines())) == (2, "", 1)
        assert says in errors


def test_another_model_under_the_same_name_is_told(target):  # noqa: F811
    address, version = target.grpc, target.version
    golden = read_golden(version / "assets.extra" / "golden.npz")
    answers = golden.answers["pixels"]
    for name, outputs, says in (
        ("pixels", {"embedding": answers["embedding"][:, :5]}, r"embedding of pixels has \d+ numbers, not 5"),
        ("pixels", answers | {"label": answers["embedding"]}, "pixels returns embedding, no label"),
        ("colorize", answers, "no signature colorize; its signatures are: pixels, "),
    ):
        another = dataclasses.replace(golden, answers={name: outputs})
        with client_of(version, address, NAME) as client, pytest.raises(UserError, match=f"serves another.*: {says}"):
            replay_on_server(client, address, version, another)


def test_embed_on_a_server_writes_the_same(served, tmp_path):
    address, version = served
    data = tmp_path / "data"
    data.mkdir()
    for number, content in enumerate(PICTURES):
        (data / f"{number}.png").write_bytes(content)
    here = embed(version, data, tmp_path / "here.npz", verbose=0)
    there = embed(version, data, tmp_path / "there.npz", server=address, model_name=NAME, verbose=0)
    assert (there.count, there.broken) == (here.count, here.broken)
    assert (there.count, list(there.broken)) == (3, [str(data / "2.png")])
    np.testing.assert_allclose(there.read().embedding, here.read().embedding, atol=1e-5)
    np.testing.assert_array_equal(there.read().path, here.read().path)
    record = read_record(tmp_path / "there.npz")
    assert record.pop("server") == {"address": address, "version": int(version.name)}
    assert record == read_record(tmp_path / "here.npz")
    assert embed(version, data, tmp_path / "there.npz", verbose=0) == there  # of the same encoder


def test_embed_goes_on_here_or_there(target, tmp_path, monkeypatch, capfd):  # noqa: F811
    address, version = target.grpc, target.version
    monkeypatch.setattr(collection, "PART_BATCHES", 1)
    whole = embed(version, DATA, tmp_path / "whole.npz", batch_size=8, verbose=0).read()
    write = Parts.write

    def stopped(parts, start, *rows):
        write(parts, start, *rows)
        if start == 16:
            raise KeyboardInterrupt

    monkeypatch.setattr(Parts, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        embed(version, DATA, tmp_path / "a.npz", batch_size=8, verbose=0)
    monkeypatch.setattr(Parts, "write", write)
    found = embed(version, DATA, tmp_path / "a.npz", batch_size=8, server=address, model_name=NAME)
    assert "resumed: 24 of 40 pictures are embedded already" in capfd.readouterr().err
    np.testing.assert_allclose(found.read().embedding, whole.embedding, atol=1e-5)


def test_embed_refuses_a_server_of_something_else(target, copied, toy_run, nobody, tmp_path):  # noqa: F811
    address = target.grpc
    golden = read_golden(copied / "assets.extra" / "golden.npz")
    change(copied, embedding=golden.answers["pixels"]["embedding"] * 1.01)
    for model, settings, says in (
        (copied, {"server": address}, rf"{address} does not serve .*: its embeddings of the golden vectors differ by"),
        (toy_run, {"server": address}, "serves an export, and a run is given"),
        (copied, {"server": nobody}, "no server answers"),
        (copied, {"server": address, "beam": "DirectRunner"}, "--beam and --server are given"),
    ):
        with pytest.raises(UserError, match=says):
            embed(model, DATA, tmp_path / "a.npz", model_name=NAME, verbose=0, **settings)
    (copied / "assets.extra" / "golden.npz").unlink()
    with pytest.raises(UserError, match="has no golden vectors, which tell whether a server serves it"):
        embed(copied, DATA, tmp_path / "a.npz", server=address, model_name=NAME, verbose=0)
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_a_client_loses_nothing_when_versions_come_and_go(tmp_path):
    from tfssl.export.config import ServeSettings
    from tfssl.export.server.serve import running

    folder = tmp_path / "models"
    write_version(folder, 1)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    with (
        running(ServeSettings(folder=folder, rest_port=0, grpc_port=0, poll=0.1)) as (addresses, _),
        serving.Client(addresses.grpc, model="models") as client,
    ):
        expected = client.embed(pixels)
        assert client.model().version == 1

        def until(version):
            end = time.monotonic() + 60
            while client.model().version != version:
                np.testing.assert_allclose(client.embed(pixels), expected, atol=1e-5)
                assert time.monotonic() < end
            np.testing.assert_allclose(client.embed(pixels), expected, atol=1e-5)

        shutil.copytree(folder / "1", folder / ".2")
        (folder / ".2").rename(folder / "2")
        until(2)
        (folder / "2").rename(folder / "withdrawn-2")
        until(1)


def test_sound_and_heads_are_served_too(colour_export, localising_export, tmp_path):
    from tfssl.export.config import ServeSettings
    from tfssl.export.server.serve import running

    data = "toy:clips(count=3, size=32, seconds=1.2)"
    for folder, names in ((colour_export, {"colorize"}), (localising_export, {"waveform", "localise"})):
        with running(ServeSettings(folder=folder, rest_port=0, grpc_port=0, name=NAME)) as (addresses, _):
            golden = read_golden(folder / "1" / "assets.extra" / "golden.npz")
            assert set(golden.answers) == names | {"serving_default", "pixels"}
            for address in (addresses.grpc, f"http://{addresses.rest}"):
                with client_of(folder / "1", address, NAME) as client:
                    found = replay_on_server(client, address, folder / "1", golden)
                assert {one.name for one in found if one.ok and one.rows > 2} == set(golden.answers), found
            if "waveform" in names:
                settings = {"sound": True, "server": addresses.grpc, "model_name": NAME}
                here = embed(folder, data, tmp_path / "here.npz", sound=True, verbose=0).read()
                there = embed(folder, data, tmp_path / "there.npz", verbose=0, **settings).read()
                np.testing.assert_allclose(there.embedding, here.embedding, atol=1e-5)
