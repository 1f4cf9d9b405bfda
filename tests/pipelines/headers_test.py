import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.support.encoded import with_stray
from tfssl.pipelines.decoding import headers

FORMATS = {
    "JPEG": headers.JPEG,
    "PNG": headers.PNG,
    "GIF": headers.GIF,
    "BMP": headers.BMP,
    "WEBP": headers.WEBP,
}
read_whole = tf.function(headers.read_header, input_signature=[tf.TensorSpec([], tf.string)])
read_prefix = tf.function(
    lambda data: headers.read_header(data, complete=False), input_signature=[tf.TensorSpec([], tf.string)]
)


def encoded(picture: Image.Image, kind: str, **settings) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def picture(height: int = 21, width: int = 37) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, [height, width, 3], np.uint8))


def header(data: bytes, complete: bool = True) -> dict[str, int]:
    read = read_whole if complete else read_prefix
    return {name: int(value) for name, value in read(tf.constant(data))._asdict().items()}


def tiff(orientation: int, order: str, kind: int = 3) -> bytes:
    """An EXIF block with another tag before the orientation; kind 3 is a short, 4 a long."""
    mark, sign = {"little": (b"II", "<"), "big": (b"MM", ">")}[order]
    value = struct.pack(sign + ("HH" if kind == 3 else "I"), *([orientation, 0] if kind == 3 else [orientation]))
    entries = struct.pack(sign + "HHII", 0x0100, 4, 1, 7) + struct.pack(sign + "HHI", 0x0112, kind, 1) + value
    return mark + struct.pack(sign + "HIH", 42, 8, 2) + entries + b"\0\0\0\0"


@pytest.mark.smoke
@pytest.mark.parametrize("kind", FORMATS)
def test_size_and_format(kind):
    for height, width in [(21, 37), (1, 1), (300, 2)]:
        found = header(encoded(picture(height, width), kind))
        assert found == {
            "format": FORMATS[kind], "height": height, "width": width, "orientation": 1, "problem": 0,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"quality": 100, "subsampling": 0}),
        ("JPEG", {"icc_profile": bytes(200_000), "comment": b"\xff\xd8" * 30}),
        ("PNG", {"interlace": 1}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"lossless": False, "icc_profile": bytes(128)}),
    ],
)
def test_size_in_other_kinds(kind, settings):
    for height, width in [(21, 37), (500, 1030)]:
        found = header(encoded(picture(height, width), kind, **settings))
        assert (found["height"], found["width"], found["problem"]) == (height, width, 0)


def test_largest_sizes():
    flat = Image.new("L", (16383, 3))
    assert header(encoded(flat.convert("RGB"), "WEBP", lossless=True))["width"] == 16383
    assert header(encoded(Image.new("RGB", (16383, 3)), "WEBP"))["width"] == 16383
    assert header(encoded(Image.new("L", (65500, 3)), "JPEG"))["width"] == 65500


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_orientation(fmt, kind, order):
    for orientation in range(1, 9):
        data = encoded(picture(), fmt, exif=b"Exif\0\0" + tiff(orientation, order, kind))
        assert Image.open(io.BytesIO(data)).getexif()[0x0112] == orientation
        assert header(data)["orientation"] == orientation


def test_orientation_behind_other_segments():
    plain = encoded(picture(), "JPEG")
    app1 = b"Exif\0\0" + tiff(6, "big")
    other = b"\xff\xe1" + struct.pack(">H", 2 + 30) + b"http://ns.adobe.com/xap/1.0/\0\0"
    padded = b"\xff\xff\xff\xe1" + struct.pack(">H", 2 + len(app1)) + app1
    assert header(plain[:2] + other + padded + plain[2:])["orientation"] == 6
    assert header(plain[:20] + other + padded + plain[20:])["orientation"] == 6


def test_orientation_that_makes_no_sense_is_none():
    for block in [tiff(0, "little"), tiff(9, "big"), b"II", b"", tiff(6, "big")[:12], b"II*\0\xff\xff\xff\xff"]:
        plain = encoded(picture(), "JPEG")
        app1 = b"Exif\0\0" + block
        data = plain[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(app1)) + app1 + plain[2:]
        found = header(data)
        assert (found["orientation"], found["height"], found["problem"]) == (1, 21, 0)


@pytest.mark.smoke
@pytest.mark.parametrize("data", [b"", b"\xff", b"once upon a time there was a text", bytes(100), b"RIFF1234WAVEfmt "])
def test_no_picture(data):
    assert header(data)["problem"] == headers.NOT_A_PICTURE
    assert header(data + bytes(100))["problem"] == headers.NOT_A_PICTURE


@pytest.mark.parametrize("kind", FORMATS)
def test_every_prefix(kind):
    """A prefix either shows what the whole file shows, or asks for more; a whole file of these bytes never raises."""
    settings = {"exif": b"Exif\0\0" + tiff(8, "little")} if kind in ("JPEG", "PNG", "WEBP") else {}
    data = encoded(picture(), kind, **settings)
    whole = header(data)
    assert whole["problem"] == 0
    for length in range(0, min(len(data), 400)):
        found = header(data[:length], complete=False)
        assert found == whole or found["problem"] == headers.NEED_MORE, length
        header(data[:length])
    if kind != "WEBP":  # whose EXIF block stands at its end
        assert header(data[:400], complete=False) == whole
    assert header(data[:12])["problem"] == headers.BREAKS_OFF


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_headers_never_raise(kind):
    rng = np.random.default_rng(1)
    data = np.frombuffer(encoded(picture(), kind)[:200], np.uint8)
    damaged = []
    for _ in range(200):
        copy = data.copy()
        copy[rng.integers(0, len(data), 4)] = rng.integers(0, 256, 4)
        damaged.append(copy.tobytes())
    found = headers.read_headers(tf.constant(damaged))
    assert all(field.shape == [200] for field in found)
    good = found.problem.numpy() == 0
    pixels = found.height.numpy().astype(np.int64) * found.width.numpy()
    assert np.all((pixels[good] > 0) & (pixels[good] <= headers.MAX_PIXELS))
    assert np.all((found.orientation.numpy() >= 1) & (found.orientation.numpy() <= 8))


STRAY = {
    "a byte": b"\0",
    "zeros": bytes(3000),
    "a line's end": b"\r\n",
    "FF of compressed data": b"\xff\0" * 300,
    "odd": b"\x7f\xff\0\xff\xff\0",
    "padding": b"\xff" * 5000,
    "a restart": b"\xff\xd3",
    "up to a window's end": bytes(511),
    "over a window's end": bytes(510) + b"\xff\xff",
}


@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY)
def test_stray_bytes_between_the_segments_of_a_jpeg(stray):
    """libjpeg skips them, and with it Pillow, which tells here what is right."""
    whole = encoded(picture(), "JPEG", exif=b"Exif\0\0" + tiff(6, "big"), progressive=True)
    for segments in ([1], [2], range(1, 20)):
        data = with_stray(whole, stray, segments)
        shown = Image.open(io.BytesIO(data))
        shown.load()
        assert (shown.size, shown.getexif()[0x0112]) == ((37, 21), 6)
        found = header(data)
        assert found == header(whole)
        for length in range(2, len(data) - 60, len(data) // 30):
            part = header(data[:length], complete=False)
            assert part == found or part["problem"] == headers.NEED_MORE, length


def test_a_jpeg_of_nothing_but_stray_bytes_is_broken():
    for stray in STRAY.values():
        assert header(b"\xff\xd8" + stray * 3)["problem"] == headers.BREAKS_OFF
        assert header(b"\xff\xd8" + stray * 3 + b"\xff\xd9" + bytes(9))["problem"] == headers.BROKEN_HEADER
    forever = b"\xff\xd8" + b"\0" * 2**22  # more than any honest file has
    assert header(forever + encoded(picture(), "JPEG")[2:])["problem"] == headers.BROKEN_HEADER


def test_a_batch_of_all_formats_equals_one_by_one():
    data = [encoded(picture(9 + i, 30 - i), kind) for i, kind in enumerate(FORMATS)] + [b"", b"text"]
    data += [encoded(picture(), "JPEG", exif=b"Exif\0\0" + tiff(5, "big")), data[0][:30]]
    found = np.stack(headers.read_headers(tf.constant(data)), 1)
    for row, one in zip(found, data, strict=True):
        np.testing.assert_array_equal(row, list(header(one).values()))


def test_enormous_and_empty_claims():
    png = bytearray(encoded(picture(), "PNG"))
    for height, width, problem in [
        (8192, 8192, 0),
        (8193, 8192, headers.TOO_LARGE),
        (2**31 - 1, 2**31 - 1, headers.TOO_LARGE),
        (2**32 - 1, 1, headers.NO_PIXELS),
        (0, 7, headers.NO_PIXELS),
    ]:
        png[16:24] = struct.pack(">II", width, height)
        assert header(bytes(png))["problem"] == problem


def test_bitmaps_that_tensorflow_decodes_wrong():
    for mode in ("P", "L", "1"):
        assert header(encoded(picture().convert(mode), "BMP"))["problem"] == headers.BAD_BMP
    good = bytearray(encoded(picture(), "BMP"))
    good[30] = 1  # run-length coded
    assert header(bytes(good))["problem"] == headers.BAD_BMP
    good[30] = 0
    good[22:26] = struct.pack("<i", -21)  # top row first
    assert header(bytes(good))["height"] == 21
    for begin in (0, 53, 2**31 + 54):  # its pixels cannot begin there
        good[10:14] = struct.pack("<I", begin)
        assert header(bytes(good))["problem"] == headers.BROKEN_HEADER


def test_animated_webp_is_refused():
    frames = {"save_all": True, "append_images": [picture().rotate(180)], "duration": 50}
    assert header(encoded(picture(), "WEBP", **frames))["problem"] == headers.ANIMATED_WEBP


def test_problems_are_named():
    assert len(headers.PROBLEMS) == headers.NO_PIXELS + 1
    assert "palette" in headers.PROBLEMS[headers.BAD_BMP]
    assert "animated" in headers.PROBLEMS[headers.ANIMATED_WEBP]
