"""What has changed in the data of a run: by names that it kept, or by what earlier versions kept."""

from types import SimpleNamespace

import pytest

from tfssl.base.errors import UserError
from tfssl.pipelines.sources.any_source import absolute_name, open_source
from tfssl.runs import listing, seen


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    for number, picture in enumerate(open_source("toy:images(count=8, size=16)").encoded):
        path = folder / "ab"[number % 2] / f"{number} 10:30.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    return folder


def begin(tmp_path, source):
    facts = {"name": absolute_name(source.name), "count": source.count, "fingerprint": source.fingerprint}
    run = SimpleNamespace(folder=tmp_path / "run", data=facts)
    seen.keep(run, source, None)
    listing.keep(run, source)
    return run


def test_files_that_are_new_gone_or_changed(tmp_path, data, monkeypatch):
    run = begin(tmp_path, open_source(data))
    (data / "a" / "0 10:30.png").rename(data / "a" / "moved.png")
    (data / "b" / "3 10:30.png").write_bytes((data / "b" / "5 10:30.png").read_bytes() + b"\0")
    (data / "b" / "more.png").write_bytes((data / "b" / "1 10:30.png").read_bytes())
    monkeypatch.chdir(data)
    now = open_source("../data")  # named from elsewhere
    expected = "8 pictures then, 9 now; new: a/moved.png, b/more.png; gone: a/0 10:30.png; changed: b/3 10:30.png"
    assert listing.changes(run, now) == expected
    (run.folder / "run.json").touch()
    monkeypatch.setattr(listing, "load_run", lambda folder: run)
    listing.refuse_other_data(tmp_path / "no run", now)
    with pytest.raises(UserError) as problem:
        listing.refuse_other_data(run.folder, now)
    assert str(problem.value) == (
        f"{run.folder} holds a run on {data}, which has changed since: {expected};"
        " choose another --out, or give what the run began with"
    )
    run.data["fingerprint"] = now.fingerprint
    listing.refuse_other_data(run.folder, now)


def test_runs_of_earlier_versions_say_what_they_know(tmp_path, data):
    run = begin(tmp_path, open_source(data))
    (run.folder / listing.FILE_NAME).unlink()
    for number in (0, 2, 4, 6):
        path = data / "a" / f"{number} 10:30.png"
        path.write_bytes(path.read_bytes() + b"\0")
    names = "a/0 10:30.png, a/2 10:30.png, a/4 10:30.png and 1 more"
    assert listing.changes(run, open_source(data)) == f"8 pictures then, 8 now; new or changed: {names}"
    (run.folder / seen.FILE_NAME).unlink()
    assert listing.changes(run, open_source(data)) == "8 pictures then, 8 now"


def test_names_take_little_room_and_memory_has_none(tmp_path):
    run = begin(tmp_path, open_source("toy:images(count=8, size=16)"))
    assert not (run.folder / listing.FILE_NAME).exists()
    paths = [f"photos/n{number // 1300:08}/n{number // 1300:08}_{7 * number % 20011}.JPEG" for number in range(50_000)]
    source = SimpleNamespace(name="photos", paths=paths, broken={}, encoded=None, moving=False)
    listing.keep(run, source)
    assert (run.folder / listing.FILE_NAME).stat().st_size < 6 * len(paths)
