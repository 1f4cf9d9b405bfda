import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from tfssl.base.errors import UserError
from tfssl.pipelines.decoding import full_size


def encoded(kind, size=(37, 23), mode="RGB", **settings):
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, [4, 5, 3], np.uint8))
    picture = small.resize(size, Image.Resampling.BICUBIC).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def by_pillow(data):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF"])
def test_the_pixels_that_pillow_gives(kind):
    data = encoded(kind)
    found = full_size.decode(data)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, by_pillow(data))


def test_large_pictures_are_not_shrunk():
    data = encoded("PNG", size=(700, 20))
    np.testing.assert_array_equal(full_size.decode(data), by_pillow(data))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_upright_as_pillow_turns_it(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(kind, exif=exif)
    np.testing.assert_array_equal(full_size.decode(data), by_pillow(data))


def test_grey_and_transparent():
    data = encoded("PNG", mode="L")
    np.testing.assert_array_equal(full_size.decode(data), by_pillow(data))
    clear = Image.new("RGBA", (9, 7), (10, 20, 30, 0))
    buffer = io.BytesIO()
    clear.save(buffer, "PNG")
    np.testing.assert_array_equal(full_size.decode(buffer.getvalue()), np.full([7, 9, 3], 255))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is no picture"),
        (b"text" * 9, "is no picture"),
        (encoded("JPEG")[:4], "breaks off"),
        (encoded("JPEG")[:-200], "to its end"),
        (encoded("PNG")[:-200], "to its end"),
    ],
)
def test_broken(data, says):
    with pytest.raises(ValueError, match=says):
        full_size.decode(data)


def test_pictures_of_files_and_folders(tmp_path):
    for name in ("a/x.jpg", "a/deep/y.png", "a/notes.txt", "a/.hidden.png", "b/z.gif", "old.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    given = [tmp_path / "a", tmp_path / "old.tif"]
    assert [
        (path.relative_to(tmp_path).as_posix(), name.as_posix()) for path, name in full_size.list_pictures(given)
    ] == [
        ("a/deep/y.png", "deep/y.png"),
        ("a/x.jpg", "x.png"),
        ("old.tif", "old.png"),
    ]
    assert [name.as_posix() for _, name in full_size.list_pictures(str(tmp_path / "b"))] == ["z.png"]


def test_films_come_last_and_one_walk_says_what_is_not_read(tmp_path, capsys):
    for name in ("a.mp4", "b.png", "c.MP4", "d.heic"):
        (tmp_path / name).write_bytes(b"")
    listed = full_size.list_pictures([tmp_path, tmp_path / "a.mp4"], also=(".mp4",))
    assert [name.as_posix() for _, name in listed] == ["b.png", "a.mp4", "c.mp4"]
    assert capsys.readouterr().err == f"{tmp_path}: .heic: 1 is not read\n"


def test_films_of_one_name_keep_their_endings(tmp_path):
    for name in ("a.mp4", "a.AVI", "b.mkv"):
        (tmp_path / name).touch()
    listed = full_size.list_pictures(tmp_path, also=(".mp4", ".avi", ".mkv"))
    found = {path.name: name.as_posix() for path, name in listed}
    assert found == {"a.mp4": "a.mp4.mp4", "a.AVI": "a.AVI.mp4", "b.mkv": "b.mp4"}


def test_pictures_of_the_same_name(tmp_path):
    for name in ("a/x.jpg", "a/x.png", "b/x.png", "none/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    twice = [tmp_path / "a", tmp_path / "a"]
    assert [name.as_posix() for _, name in full_size.list_pictures(twice)] == ["x.jpg.png", "x.png.png"]
    with pytest.raises(UserError, match=r"would both become x\.png\.png"):
        full_size.list_pictures([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(UserError, match=r"^no picture in [^()]*none, only .txt: 1; expected"):
        full_size.list_pictures((tmp_path / "none",))
    with pytest.raises(UserError, match="does not exist"):
        full_size.list_pictures([tmp_path / "nowhere"])
