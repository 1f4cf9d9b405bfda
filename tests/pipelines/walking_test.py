"""The one walk through folders: links, hidden things, what cannot be opened, names that are no UTF-8."""

import os

import pytest

from tfssl.base.errors import UserError
from tfssl.base.files import text_of
from tfssl.pipelines.clips import listing, recordings
from tfssl.pipelines.decoding import full_size
from tfssl.pipelines.sources import walking
from tfssl.pipelines.sources.any_source import open_source
from tfssl.pipelines.sources.folders import open_files

PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU"
    b"\0\0\0\nIDATx\x9cc`\0\0\0\x02\0\x01H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82"
)


@pytest.fixture
def folder(tmp_path):
    for name in ("data/b/1.png", "data/b/2.PNG", "data/a/3.png", "outside/4.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return tmp_path / "data"


def listed(folder):
    return walking.walk(folder, (".png",)).paths


def test_links_are_followed_once_and_files_keep_their_own_folder(folder):
    (folder / "a" / "0_link_to_b").symlink_to(folder / "b")  # sorted before b, where the files are
    (folder / "a" / "up").symlink_to(folder)
    (folder / "b" / "itself").symlink_to(folder / "b" / "itself")
    (folder / "linked").symlink_to(folder.parent / "outside")
    (folder / "linked_again").symlink_to(folder.parent / "outside")
    (folder.parent / "outside" / "back").symlink_to(folder / "a")
    assert listed(folder) == ["a/3.png", "b/1.png", "b/2.PNG", "linked/4.png"]


def test_hidden_things_are_left_alone_and_other_endings_counted(folder, capsys):
    for name in (".Trash/x.png", "a/._3.png", "a/.x.heic", "a/5.heic", "b/6.HEIC", "b/notes", "7.tif"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(PNG)
    found = walking.walk(folder, (".png",))
    assert found.paths == ["a/3.png", "b/1.png", "b/2.PNG"]
    assert found.unread == {".heic": 2, "": 1, ".tif": 1}
    for name in (folder, os.path.relpath(folder)):  # once, under whatever name
        assert open_source(name).classes == ("a", "b")
    assert capsys.readouterr().err == f"{folder}: .heic: 2, no ending: 1, .tif: 1 are not read\n"
    assert walking.only_unread(found) == ", only .heic: 2, no ending: 1, .tif: 1"


def test_a_stray_picture_beside_class_folders_is_named(folder, capsys):
    (folder / "stray.png").write_bytes(PNG)
    assert open_source(folder).labels is None
    assert f"{folder} has no labels: stray.png beside its folders" in capsys.readouterr().err


def test_a_folder_that_cannot_be_listed_is_said(folder, capsys, monkeypatch):
    scan = os.scandir

    def refuse(place):
        if str(place).endswith("/a"):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)  # as root the tests may list anything
    found = walking.walk(folder, (".png",))
    assert (found.paths, found.closed) == (["b/1.png", "b/2.PNG"], {"a": "permission denied"})
    walking.say_unread(folder, found)
    assert f"{folder}/a cannot be listed (permission denied)" in capsys.readouterr().err


def unopened(folder, monkeypatch):
    """Make files that cannot be opened in data/a; return what is wrong with each."""
    (folder / "a" / "gone.png").symlink_to("annex/objects/gone.png")
    (folder / "a" / "circle.png").symlink_to("circle.png")
    os.mkfifo(folder / "a" / "pipe.png")
    (folder / "a" / "secret.png").write_bytes(PNG)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "secret" not in str(path) and access(path, mode))
    return {
        "gone.png": "is a link to what is not there",
        "circle.png": "cannot be opened: too many levels of symbolic links",
        "pipe.png": "is no regular file",
        "secret.png": "cannot be opened: permission denied",
    }


def test_what_cannot_be_opened_is_broken_and_a_pipe_does_not_hang(folder, monkeypatch):
    problems = {str(folder / "a" / name): problem for name, problem in unopened(folder, monkeypatch).items()}
    source = open_source(folder, max_broken=0.6)
    assert (source.broken, source.count, source.listed) == (problems, 3, 7)
    assert open_files([folder / "b" / "1.png", *map(type(folder), problems)]).broken == problems


def test_names_that_are_no_utf8(folder):
    name = os.fsdecode(b"caf\xe9.png")
    (folder / os.fsdecode(b"\xe9t\xe9")).mkdir()
    path = folder / os.fsdecode(b"\xe9t\xe9") / name
    path.write_bytes(PNG)
    source = open_source(folder)
    assert source.classes == (r"\xe9t\xe9", "a", "b")
    assert source.paths[-1] == str(path)
    rows, _ = source.reader().rows([len(source.paths) - 1])
    assert source.reader().read(rows[0]).numpy() == PNG
    assert text_of(name) == r"caf\xe9.png"
    assert text_of("café.png") == "café.png"


def test_a_recording_that_cannot_be_opened_says_why(folder, monkeypatch):
    for name, problem in unopened(folder, monkeypatch).items():
        with pytest.raises(recordings.BrokenRecordingError, match=f"^{problem}$"):
            recordings.decode(folder / "a" / name, 8, 1.0, 8000)


def test_films_are_listed_by_the_same_walk(folder):
    (folder / "a" / "link").symlink_to(folder.parent / "outside")
    for path in ("a/x.mp4", "a/._x.wav", "a/.Trash/y.mp4", "../outside/z.MKV"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(b"")
    assert listing.list_recordings(folder) == ["a/link/z.MKV", "a/x.mp4"]


def test_a_table_of_labels_has_each_file_once_in_any_encoding_of_its_name(tmp_path):
    names = ["a/x.mp4", os.fsdecode(b"caf\xe9.mp4")]
    table = tmp_path / "labels.csv"
    table.write_bytes(b"file,label\nx.mp4,one\ncaf\xe9.mp4,two\n")
    assert listing.read_labels(tmp_path, names, table, None)[0] == dict(zip(names, ("one", "two"), strict=True))
    table.write_text("file,label\nx.mp4,one\na/x.mp4,two\n")
    with pytest.raises(UserError, match=r"the file a/x\.mp4 stands in two rows"):
        listing.read_labels(tmp_path, names, table, None)
    table.write_text("label,file\none,x.mp4\ntwo\n")  # a row that is too short
    with pytest.raises(UserError, match="the file '' is none of those"):
        listing.read_labels(tmp_path, names, table, None)
    table.write_bytes(b"file,label\nx.mp4,caf\xe9\n")
    with pytest.raises(UserError, match=r"the label of a/x\.mp4 is not UTF-8"):
        listing.read_labels(tmp_path, names, table, None)


def test_what_is_not_there_is_told_from_what_is_shut(folder, monkeypatch):
    stat = os.stat

    def refuse(path, *arguments, **settings):
        if str(path).endswith("/shut.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *arguments, **settings)

    monkeypatch.setattr(os, "stat", refuse)  # as root the tests may enter any folder
    for name, problem in {
        "missing.png": "does not exist",
        "x" * 300: "does not exist",
        "b/1.png/x": "does not exist",
        "shut.png": "cannot be opened: permission denied",
    }.items():
        for given in (open_source, full_size.list_pictures, lambda path: open_files([path])):
            with pytest.raises(UserError, match=f" {problem}; expected"):
                given(folder / name)
