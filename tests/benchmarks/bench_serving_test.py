"""`bench serving`: each request has a right answer while versions change; one with a wrong answer counts as lost."""

import contextlib
import shutil

import pytest

import tfssl
from tfssl.base.errors import UserError
from tfssl.benchmarks import serving
from tfssl.export.checking.golden import read_golden
from tfssl.export.config import ServeSettings
from tfssl.export.deployment.warm_up import FILE
from tfssl.export.server.serve import running

pytestmark = pytest.mark.usefixtures("loaded_once")

SMALL = {"seconds": 2.0, "clients": 4, "batch": 2, "passes": 1, "requests": 2}


@pytest.fixture
def folder(toy_export, tmp_path):
    """Without requests to warm up, so that a version is loaded within the seconds."""
    return shutil.copytree(toy_export, tmp_path / "models", ignore=shutil.ignore_patterns(FILE))


@contextlib.contextmanager
def served_here(models):
    """In place of `tfssl serve` as a process of its own."""
    with running(ServeSettings(folder=models, rest_port=0, grpc_port=0)) as (addresses, _):
        yield addresses.rest, addresses.grpc


def test_no_request_is_lost(folder):
    table = tfssl.bench_serving(folder, **SMALL)
    assert table.lost == ()
    assert table.ok
    assert len(table.latencies) == 8
    assert sum(each.requests for each in table.latencies) == round(table.requests_per_second * table.seconds)
    assert all(0 < each.p50 <= each.p99 for each in table.latencies if each.requests)
    assert set(table.versions) <= {1, 2, 3}
    assert min(table.loop, table.grpc, table.rest) > 0
    assert "gRPC" in str(table)


def test_wrong_answers_are_lost(folder, monkeypatch):
    monkeypatch.setattr(serving, "_serving", served_here)
    monkeypatch.setattr(serving, "SWAPS", 0)
    path = folder / "1" / "assets.extra" / "golden.npz"
    golden = read_golden(path)
    golden.answers["serving_default"]["embedding"][0] += 1
    golden.write(path)
    wrong = tfssl.bench_serving(folder, **SMALL | {"seconds": 0.5})
    assert not wrong.ok
    assert "pictures" in wrong.lost[0]


def test_wrong_input(toy_export, tmp_path):
    with pytest.raises(UserError, match="clients=0 is given, expected at least 1"):
        tfssl.bench_serving(toy_export, clients=0)
    with pytest.raises(UserError, match="is no export"):
        tfssl.bench_serving(tmp_path)
