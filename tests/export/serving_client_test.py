"""The client against a small server of both protocols, whose answers are known and which fails as it is told to."""

import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.support.fake_server import Fake, rest, rpc
from tfssl import serving
from tfssl.base.errors import UserError
from tfssl.export.client import client as clients
from tfssl.export.client import rows
from tfssl.export.signatures import bounds

tenacity = pytest.importorskip("tenacity")
trustme = pytest.importorskip("trustme")


@pytest.fixture(params=[rpc, rest])
def served(request):
    """A fake and its address."""
    fake = Fake()
    with request.param(fake) as address:
        yield fake, address


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waits are short."""
    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda multiplier, max: tenacity.wait_fixed(0.01))


PICTURES = [b"\xff" + bytes([7] * number) + b"\0" for number in range(10)]


def test_each_kind_of_rows_reaches_its_signature_in_order(served, tmp_path):
    fake, address = served
    for number, data in enumerate(PICTURES):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    paths = [tmp_path / f"{number}.jpg" for number in range(10)]
    mixed = [str(path) if number % 3 else PICTURES[number] for number, path in enumerate(paths)]
    pixels = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), np.uint8)
    waves = np.random.default_rng(0).normal(size=(7, 16))
    with serving.Client(address, batch_size=4) as client:
        for given in (PICTURES, paths, mixed):
            found = client.embed(given)
            assert found.dtype == np.float32
            # Its length, with the zero at its end, and that zero: ten rows as 4 + 4 + 2.
            expected = [[1, 4 if number < 8 else 2, number + 2, 0] for number in range(10)]
            np.testing.assert_array_equal(found, expected)
        for given in (pixels, list(pixels)):
            np.testing.assert_array_equal(client.embed(given)[:, 2:], pixels.reshape(7, -1)[:, [0, -1]])
        for given in (waves, list(waves), waves.astype(np.float32)):
            np.testing.assert_array_equal(client.embed(given)[:, 2:], waves.astype(np.float32)[:, [0, -1]])
        assert client.embed(paths[3]).tolist() == [[1, 1, 5, 0]]
        assert client.embed(pixels[0]).shape == client.embed(waves[0]).shape == (1, 4)
        for nothing in ([], np.zeros((0, 8, 8, 3), np.uint8), np.zeros((0, 16))):
            assert client.embed(nothing).shape == (0, 4)
        assert max(fake.asked) == 4


def test_what_is_loaded(served):
    with serving.Client(served[1]) as client:
        found = client.model()
    assert found.version == 1
    assert found.signatures["pixels"].inputs == {"pixels": ("uint8", (None, 8, 8, 3))}
    outputs = {"embedding": ("float32", (None, 4)), "valid": ("bool", (None,))}
    assert found.signatures["serving_default"].outputs == outputs


def test_a_wrong_row_is_an_error_of_that_row(served, tmp_path, monkeypatch):
    address = served[1]
    monkeypatch.setattr(rows, "MAX_BYTES", 40)
    given = [PICTURES[0], b"text", tmp_path / "gone.jpg", b"\xff" * 41, b"", PICTURES[1]]
    with serving.Client(address, batch_size=3) as client:
        found = client.embed(given, invalid="nan")
        np.testing.assert_array_equal(np.isnan(found).all(1), [False, True, True, True, True, False])
        assert found[[0, 5], 2].tolist() == [2, 3]
        with pytest.raises(serving.InvalidRowsError) as told:
            client.embed(given)
        np.testing.assert_array_equal(told.value.embedding, found)
        assert list(told.value.rows) == [1, 2, 3, 4]
        assert str(told.value) == (
            "4 of 6 rows have no embedding: row 1 is no picture, or too large a one; "
            f"{tmp_path}/gone.jpg cannot be read: No such file or directory; row 3 has 41 bytes, and a picture may have"
            " 40; row 4 is no picture, or too large a one; leave them out, or give invalid='nan'"
        )
        assert isinstance(told.value, UserError)
        assert client.embed([tmp_path / "gone.jpg"], invalid="nan").shape == (1, 4)
        waves = np.ones((3, 16), np.float32)
        waves[1, 5] = np.nan
        assert np.isnan(client.embed(waves, invalid="nan")[:, 0]).tolist() == [False, True, False]
        with pytest.raises(serving.InvalidRowsError, match="row 1 is not finite"):
            client.embed(waves)


def test_requests_are_never_longer_than_a_server_takes():
    most = bounds.MAX_ROWS
    requests, wrong = rows.divide([b"x"] * (2 * most + 1), most)
    assert [len(numbers) for numbers in requests] == [most, most, 1]
    sizes = [2**20, 2**21, 2**21, 100, 2**23, 100, 2**24, 2**24 + 1]
    requests, wrong = rows.divide([bytes(size) for size in sizes], most)
    assert requests == [[0, 1], [2, 3], [4], [5], [6]]
    assert list(wrong) == [7]
    pixels = list(np.zeros((64, 224, 224, 3), np.uint8))
    requests, _ = rows.divide(pixels, most)
    assert [number for numbers in requests for number in numbers] == list(range(64))
    assert all(len(numbers) * 224 * 224 * 3 < 2**22 for numbers in requests)


def test_what_may_succeed_later_is_tried_again(served):
    fake, address = served
    fake.faults = ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "UNAVAILABLE"]
    with serving.Client(address) as client:
        np.testing.assert_array_equal(client.embed(PICTURES[:2]), [[1, 2, 2, 0], [1, 2, 3, 0]])
    assert fake.asked == [2, 2, 2, 2]


@pytest.mark.parametrize("status", ["INVALID_ARGUMENT", "INTERNAL"])
def test_what_may_not_is_told_at_once(served, status):
    fake, address = served
    fake.faults = [status]
    with serving.Client(address) as client:
        with pytest.raises(serving.ServingError, match=rf"^encoder at {address} refuses \(.*: as it was told to\)$"):
            client.embed(PICTURES[:2])
        assert fake.asked == [2]
        assert client.embed(PICTURES[:2]).shape == (2, 4)


def test_deadlines(served):
    fake, address = served
    with serving.Client(address, timeout=0.3, batch_size=1, connections=1) as client:
        client.model()
        fake.faults = ["UNAVAILABLE"] * 1000
        start = time.monotonic()
        with pytest.raises(serving.ServingError, match="no server answers") as told:
            client.embed(PICTURES[:1])
        assert told.value.status == "UNAVAILABLE"
        assert 0.2 < time.monotonic() - start < 2
        assert len(fake.asked) > 3
        fake.faults, fake.seconds = [], 0.6
        with pytest.raises(serving.ServingError, match="too slow") as told:
            client.embed(PICTURES[:1])
        assert told.value.status == "DEADLINE_EXCEEDED"
        fake.seconds = 0.1
        start = time.monotonic()
        with pytest.raises(serving.ServingError, match="too slow"):
            client.embed(PICTURES, deadline=0.25)
        assert time.monotonic() - start < 1
        assert client.embed(PICTURES, deadline=5).shape == (10, 4)


def test_rows_of_a_call_are_of_one_version(served):
    fake, address = served
    fake.loads = {3: [1, 2], 4: [2]}
    with serving.Client(address, batch_size=2, connections=1) as client:
        found = client.embed(PICTURES)
        assert set(found[:, 0]) == {2}
        assert client.model().version == 2
        fake.loads = {}
        fake.versions = [2, 3]
        assert set(client.embed(PICTURES)[:, 0]) == {2}  # for some seconds
        client._seen = None
        assert set(client.embed(PICTURES)[:, 0]) == {3}
    with serving.Client(address, version=2) as client:
        assert set(client.embed(PICTURES)[:, 0]) == {2}
        fake.versions = [3]
        with pytest.raises(serving.ServingError, match=r"has no version 2 of encoder; its versions are: 3 \("):
            client.embed(PICTURES)


def test_wrong_use_is_told(served):
    fake, address = served
    with (
        serving.Client(address, model="another") as client,
        pytest.raises(
            serving.ServingError, match=rf"{address} has no model another; give the name that .* \(Servable not found"
        ),
    ):
        client.embed(PICTURES)
    with serving.Client(address) as client:
        with pytest.raises(UserError, match="row 0 is 9 x 9 x 3, and version 1 of encoder takes 8 x 8 x 3; cut it"):
            client.embed(np.zeros((2, 9, 9, 3), np.uint8))
        with pytest.raises(UserError, match=r"row 1 is 15, and version 1 of encoder takes 16"):
            client.embed([np.zeros(16), np.zeros(15)])
        with pytest.raises(UserError, match="rows of bytes, uint8 8 x 8 x 3 are given, expected all paths"):
            client.embed([PICTURES[0], np.zeros((8, 8, 3), np.uint8)])
        for wrong in ([1, 2], np.zeros((2, 8, 8, 3)), np.zeros((2, 16), np.int32)):
            with pytest.raises(UserError, match=r"rows of .* are given, expected all paths"):
                client.embed(wrong)
        with pytest.raises(UserError, match="expected 'raise' or 'nan'"):
            client.embed(PICTURES, invalid="skip")
        with pytest.raises(UserError, match="has no signature colorize; its signatures are: pixels, serving_d"):
            client.predict("colorize", {})
        assert fake.asked == []
        found = client.predict("serving_default", {"image_bytes": PICTURES[:2]})
        assert found["valid"].tolist() == [True, True]


def test_addresses_and_numbers_of_another_form():
    for address in ("host", "ftp://host:1", "host:port", "://host:1", "http://", ""):
        with pytest.raises(UserError, match=f"address {address} is given, expected host:port or grpc"):
            serving.Client(address)
    for settings in ({"batch_size": 0}, {"batch_size": 257}, {"connections": 0}, {"timeout": 0}):
        with pytest.raises(UserError, match=r"(is|are) given, expected"):
            serving.Client("host:1", **settings)


@pytest.mark.parametrize("scheme", ["", "grpc://", "http://"])
def test_a_server_that_is_down(scheme, monkeypatch):
    monkeypatch.setattr(clients, "PATIENCE", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"  # bound, and nobody listens
        said = rf"^no server answers for encoder at {address} \(.*refused.*\); start one"
        with serving.Client(address) as client, pytest.raises(serving.ServingError, match=said):
            client.embed(PICTURES)


@pytest.mark.parametrize("serve", [rpc, rest])
def test_an_encrypted_server_is_trusted_by_its_authority_only(serve, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "known.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with serve(Fake(), certificate=authority.issue_cert("127.0.0.1")) as address:
        with serving.Client(address, certificates=tmp_path / "known.pem") as client:
            assert client.embed(PICTURES).shape == (10, 4)
        for settings in ({}, {"certificates": tmp_path / "other.pem"}):
            said = rf"at {address} refuses \(UNAUTHENTICATED: encryption cannot begin; give .* as certificates=FILE: .*"
            with serving.Client(address, **settings) as client, pytest.raises(serving.ServingError, match=said):
                client.embed(PICTURES)


@pytest.mark.parametrize(("serve", "scheme"), [(rpc, "grpcs://"), (rest, "https://")])
def test_a_server_that_does_not_encrypt_is_told(serve, scheme):
    with serve(Fake()) as address, serving.Client(scheme + address.removeprefix("http://")) as client:
        said = r"UNAUTHENTICATED: what answers there does not encrypt; give host:port or http://host:port\)"
        with pytest.raises(serving.ServingError, match=said):
            client.embed(PICTURES)


def test_certificates_that_help_nothing_are_told(tmp_path):
    with pytest.raises(UserError, match="certificates are given for host:1, which is not encrypted; expected grpcs"):
        serving.Client("host:1", certificates=tmp_path / "known.pem")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    for name, problem in {"known.pem": "No such file", "picture.png": ".*NO_CERTIFICATE"}.items():
        with pytest.raises(UserError, match=rf"{name} cannot be used \({problem}.*expected the authorities', as PEM"):
            serving.Client("grpcs://host:1", certificates=tmp_path / name)


def test_the_other_protocol_is_told():
    with rest(Fake()) as address, serving.Client(address.removeprefix("http://")) as client:
        said = r"refuses \(UNIMPLEMENTED: what answers there speaks no gRPC; for REST, give http://host:port\)"
        with pytest.raises(serving.ServingError, match=said):
            client.embed(PICTURES)
    with rpc(Fake()) as address, serving.Client(f"http://{address}") as client:
        said = "speaks no REST; for gRPC, give host:port without http://"
        with pytest.raises(serving.ServingError, match=said):
            client.embed(PICTURES)


def test_a_server_that_starts_is_waited_for():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = []

    def ask():
        with serving.Client(f"http://127.0.0.1:{port}") as client:
            found.append(client.embed(PICTURES))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.3)
    with rest(Fake(), port):
        asking.join()
    assert found[0].shape == (10, 4)


def test_over_rest_it_does_without_tensorflow():
    with rest(Fake()) as address:
        program = (
            "import sys, tfssl\n"
            f"with tfssl.serving.Client({address!r}) as client:\n"
            "    print(client.embed([b'\\xff', b'\\xffab']).tolist())\n"
            "assert not {'tensorflow', 'keras', 'grpc'} & set(sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[[1.0, 2.0, 1.0, 255.0], [1.0, 2.0, 3.0, 98.0]]\n", "")
