"""Encoded pictures of every format, whole and broken, against Pillow."""

import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.support.encoded import (
    assert_close,
    box_of,
    crops,
    decoded,
    encoded,
    is_broken,
    opened,
    smooth,
    traced,
    traced_box,
    with_stray,
)
from tfssl.pipelines.decoding import formats, headers, picture_crops
from tfssl.pipelines.decoding.orientation import upright_size


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_lossless_formats_equal_pillow(kind):
    data = encoded(smooth(), kind, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(decoded(data, 48), np.asarray(smooth()))


@pytest.mark.smoke
@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_equals_pillow(settings):
    data = encoded(smooth(), "JPEG", quality=95, **settings)
    np.testing.assert_array_equal(decoded(data, 48), opened(data))


def test_lossy_webp_equals_pillow():
    data = encoded(smooth(), "WEBP")
    assert_close(decoded(data, 48), opened(data), 2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation_as_pillow_turns_it(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(smooth(40, 64), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {"quality": 95}))
    upright = ImageOps.exif_transpose(opened(data))
    header = headers.read_header(tf.constant(data))
    assert tuple(int(side) for side in upright_size(header)) == (upright.height, upright.width)
    top, left = (upright.height - 40) // 2, (upright.width - 40) // 2
    centre = upright.crop((left, top, left + 40, top + 40))
    # At the sides of a JPEG crop libjpeg lacks the neighbour that its colour is smoothed with.
    worst, mean = (12, 0.5) if kind == "JPEG" else (0, 0)
    assert_close(decoded(data, 40), centre, worst, mean)
    # A box off the centre lands where it should.
    assert_close(box_of(data, [3, 5, 20, 20], 20), upright.crop((5, 3, 25, 23)), worst, mean)


def test_grey_is_repeated():
    for kind in ("JPEG", "PNG"):
        data = encoded(smooth().convert("L"), kind)
        assert_close(decoded(data, 48), opened(data).convert("RGB"), 0)
        assert np.ptp(decoded(data, 48), axis=-1).max() == 0


def test_cmyk_jpeg():
    data = encoded(smooth().convert("CMYK"), "JPEG", quality=95)
    assert_close(decoded(data, 48), opened(data).convert("RGB"), 12, mean=4)


def test_palette_and_bilevel_png():
    for mode in ("P", "1"):
        data = encoded(smooth().convert(mode), "PNG")
        np.testing.assert_array_equal(decoded(data, 48), opened(data).convert("RGB"))


def packed_png(bits: int, colour: int, values: np.ndarray, palette: bytes = b"", clear: bytes = b"") -> bytes:
    """A PNG of fewer than 8 bits a pixel, which Pillow does not write: grey (colour 0) or palette (3)."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = values.shape
    unpacked = (values[..., None] >> np.arange(bits)[::-1] & 1).reshape(height, -1).astype(np.uint8)
    rows = np.pad(np.packbits(unpacked, axis=1), [[0, 0], [1, 0]])
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)),
            chunk(b"PLTE", palette) if palette else b"",
            chunk(b"tRNS", clear) if clear else b"",
            chunk(b"IDAT", zlib.compress(rows.tobytes())),
            chunk(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_bits(bits):
    values = np.random.default_rng(0).integers(0, 2**bits, [48, 48])
    palette = np.random.default_rng(1).integers(0, 256, 3 * 2**bits).astype(np.uint8).tobytes()
    grey = packed_png(bits, 0, values)
    np.testing.assert_array_equal(decoded(grey, 48)[..., 0], values * 255 // (2**bits - 1))
    coloured = packed_png(bits, 3, values, palette)
    np.testing.assert_array_equal(decoded(coloured, 48), opened(coloured).convert("RGB"))
    clear = packed_png(bits, 3, values, palette, b"\x00\x80")
    assert_close(decoded(clear, 48), on_white(opened(clear)), 1)


def on_white(picture: Image.Image) -> Image.Image:
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_put_on_white(kind):
    picture = smooth().convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize((48, 48)))
    data = encoded(picture, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    assert_close(decoded(data, 48), on_white(opened(data)), 1)


def test_transparent_colour_of_palette_and_grey_alpha_png():
    palette = smooth().convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    data = encoded(palette, "PNG", transparency=3)
    np.testing.assert_array_equal(decoded(data, 48), on_white(opened(data)))
    grey = smooth().convert("LA")
    grey.putalpha(100)
    data = encoded(grey, "PNG")
    assert_close(decoded(data, 48), on_white(opened(data)), 1)


def test_opaque_alpha_changes_nothing():
    for kind in ("PNG", "BMP"):
        np.testing.assert_array_equal(decoded(encoded(smooth().convert("RGBA"), kind), 48), np.asarray(smooth()))


def test_png_of_16_bits_is_scaled_not_cut_off():
    deep = np.linspace(0, 65535, 48 * 48).reshape(48, 48).astype(np.uint16)
    found = decoded(encoded(Image.fromarray(deep), "PNG"), 48)
    assert_close(found[..., 0], np.round(deep / 257), 0)


def gif_frames() -> list[Image.Image]:
    # Opposite colours, so that a wrong frame cannot pass.
    return [smooth(seed=seed).quantize(16) for seed in (0, 5, 6)]


def test_gif_shows_its_first_frame():
    frames = gif_frames()
    for data in (
        encoded(frames[0], "GIF"),
        encoded(frames[0], "GIF", interlace=1, comment=b"made for a test" * 40),
        encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50, loop=0),
    ):
        np.testing.assert_array_equal(decoded(data, 48), opened(data).convert("RGB"))


def test_gif_frames_behind_the_first_are_not_decoded():
    frames = gif_frames()
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    first = opened(data).convert("RGB")
    np.testing.assert_array_equal(decoded(data[:-200], 48), first)


def test_transparent_gif_is_put_on_white():
    picture = gif_frames()[0]
    data = encoded(picture, "GIF", transparency=2)
    np.testing.assert_array_equal(decoded(data, 48), on_white(opened(data)))


def test_gif_frame_smaller_than_its_canvas_lies_on_white():
    frame = gif_frames()[0].crop((0, 0, 20, 30))
    data = bytearray(encoded(frame, "GIF"))
    data[6:10] = struct.pack("<HH", 48, 48)
    start = data.index(b",", 13 + 3 * 2 ** ((data[10] & 7) + 1))
    data[start + 1 : start + 5] = struct.pack("<HH", 7, 9)  # left, top
    expected = np.full([48, 48, 3], 255, np.uint8)
    expected[9:39, 7:27] = np.asarray(frame.convert("RGB"))
    np.testing.assert_array_equal(decoded(bytes(data), 48), expected)
    data[start + 1] = 40  # reaches past the canvas
    assert is_broken(bytes(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_one_pixel(kind):
    data = encoded(Image.new("RGB", (1, 1), (200, 30, 60)), kind, **({"lossless": True} if kind == "WEBP" else {}))
    expected = np.broadcast_to(np.asarray(opened(data).convert("RGB")), [8, 8, 3])
    assert_close(decoded(data, 8), expected, 3)
    assert_close(crops([data], 2, 8)[0], expected, 3)


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "GIF", "BMP", "WEBP", "lossless"])
def test_truncated_files_are_broken(kind):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, [160, 120, 3], np.uint8))
    settings = {"progressive": {"progressive": True}, "lossless": {"lossless": True}}.get(kind, {})
    data = encoded(noise, {"progressive": "JPEG", "lossless": "WEBP"}.get(kind, kind), **settings)
    assert not is_broken(data)
    last = 3 if kind in ("GIF", "JPEG", "progressive") else 13 if kind == "PNG" else 1  # the trailers may be missing
    for length in (len(data) // 3, len(data) // 2, len(data) * 19 // 20, len(data) - last):
        assert is_broken(data[:length]), length


def test_truncated_jpeg_is_broken_even_if_the_crop_is_whole():
    data = encoded(smooth(200, 200), "JPEG", quality=95)
    box = [0, 0, 40, 40]
    assert_close(box_of(data, box, 40), opened(data).crop((0, 0, 40, 40)), 12, 0.5)
    for length in (len(data) * 3 // 4, len(data) - 3):
        images, valid = traced_box(40)(tf.constant(data[:length]), tf.constant(box))
        assert not valid.numpy()[0]
        assert not images.numpy().any()


def test_what_has_a_problem_in_its_header_is_not_decoded():
    data = tf.constant([encoded(smooth(), "JPEG")] * 2)

    @tf.function
    def crop(problem):
        return picture_crops.centre_crops(
            lambda one: one, data, headers.read_headers(data)._replace(problem=problem), 48
        )

    images, valid = crop(tf.constant([0, headers.TOO_LARGE]))
    assert valid.numpy().tolist() == [True, False]
    np.testing.assert_array_equal(images[0], decoded(data[0].numpy(), 48))
    assert not images[1].numpy().any()


@pytest.mark.parametrize("kinds", ["JPEG", "PNG", "PNG GIF", "JPEG WEBP BMP"])
def test_a_graph_for_the_formats_that_occur_gives_the_same_pixels(kinds):
    """And refuses all others, though their bytes are in order."""
    names = ["JPEG", "PNG", "GIF", "BMP", "WEBP"]
    data = tf.constant([encoded(smooth(70, 50, seed), name) for seed, name in enumerate(names)])
    known = tuple(number for name, number in zip(names, headers.FORMATS, strict=True) if name in kinds.split())

    @tf.function(autograph=False)
    def crops(data):
        return picture_crops.centre_crops(lambda one: one, data, headers.read_headers(data), 24, kinds=known)

    (found, fine), (expected, _) = crops(data), traced(24)(data)
    occurs = np.isin(names, kinds.split())
    np.testing.assert_array_equal(fine, occurs)
    np.testing.assert_array_equal(found, np.where(occurs[:, None, None, None], expected, 0))
    assert found.numpy()[occurs].std() > 5


def test_jpeg_with_bytes_behind_it():
    data = encoded(smooth(), "JPEG")
    for behind in (b"\0", b"some words", bytes(5000)):
        np.testing.assert_array_equal(decoded(data + behind, 48), decoded(data, 48))


@pytest.mark.parametrize("stray", [b"\0", b"\xff\0" * 40, bytes(2000)], ids=["a byte", "stuffed", "many"])
def test_jpeg_with_stray_bytes_between_its_segments(stray):
    data = encoded(smooth(), "JPEG", quality=95)
    for segments in ([1], [3], range(1, 20)):
        strange = with_stray(data, stray, segments)
        np.testing.assert_array_equal(opened(strange), opened(data))
        np.testing.assert_array_equal(decoded(strange, 48), opened(data))


@pytest.mark.parametrize("top_first", [False, True])
@pytest.mark.parametrize(("bits", "header"), [(24, 40), (32, 40), (24, 108), (32, 124)])
def test_bmp_with_bytes_behind_its_rows(bits, header, top_first):
    """As Photoshop writes two, other programs a colour profile (BITMAPV5HEADER), and some a gap before the rows."""
    pixels = np.asarray(smooth(16, 13))[:, :, ::-1]
    rows = pixels if top_first else pixels[::-1]
    rows = np.pad(rows, [(0, 0), (0, 0), (0, bits // 8 - 3)]).reshape(16, -1)
    rows = np.pad(rows, [(0, 0), (0, -rows.shape[1] % 4)]).astype(np.uint8).tobytes()
    fields = (header, 13, -16 if top_first else 16, 1, bits, 0, 0, 0, 0, 0, 0)
    for gap, behind in [(b"", b""), (b"", b"\0\0"), (b"", b"\0"), (b"", bytes(3144)), (bytes(7), b"BM" * 50)]:
        start = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + header + len(gap))
        data = start + struct.pack("<IiiHHIIiiII", *fields) + bytes(header - 40) + gap + rows + behind
        expected = np.asarray(opened(data).convert("RGB"))
        np.testing.assert_array_equal(expected, smooth(16, 13))
        np.testing.assert_array_equal(box_of(data, [0, 0, 13, 13], 13), expected[:13])
        assert is_broken(data[: len(data) - len(behind) - 1])


@pytest.mark.smoke
def test_broken_rows_leave_their_neighbours_alone():
    good = encoded(smooth(), "PNG")
    rows = [b"", good, b"text", good[:500], good, encoded(smooth().convert("P"), "BMP"), good]
    for parallel in (None, 4):
        images, valid = traced(48, parallel)(tf.constant(rows))
        assert valid.numpy().tolist() == [False, True, False, False, True, False, True]
        for image, is_good in zip(images.numpy(), valid.numpy(), strict=True):
            np.testing.assert_array_equal(image, np.asarray(smooth()) * is_good)


def test_all_rows_broken_and_no_rows():
    images, valid = traced(8)(tf.constant([b"", b"text"]))
    assert not images.numpy().any()
    assert valid.numpy().tolist() == [False, False]
    images, valid = traced(8)(tf.zeros([0], tf.string))
    assert (images.shape, valid.shape) == ([0, 8, 8, 3], [0])


def test_enormous_claim_is_not_decoded():
    data = bytearray(encoded(smooth(), "PNG"))
    data[16:24] = struct.pack(">II", 60000, 60000)
    assert is_broken(bytes(data))


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0, 3.9, 4.0, 8.5, 17.0])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_scaled_decoding_keeps_the_picture(kind, factor):
    side = int(32 * factor)
    picture = smooth(side + 20, side + 20)
    data = encoded(picture, kind, **({"quality": 95} if kind == "JPEG" else {}))
    found = box_of(data, [8, 16, side, side], 32)
    expected = picture.resize((32, 32), Image.Resampling.BOX, box=(16, 8, 16 + side, 8 + side))
    # A scaled crop begins at a multiple of the ratio, half a scaled pixel off at most.
    assert_close(found, expected, 20, mean=3)


def test_ratio_is_the_largest_that_leaves_enough():
    sides = [10, 31, 32, 63, 64, 127, 128, 255, 256, 5000]
    count = len(sides)
    header = headers.Header(*(tf.fill([count], n) for n in (headers.JPEG, 6000, 6000, 1, 0)))
    box = tf.stack([tf.zeros([count], tf.int32)] * 2 + [tf.constant(sides), tf.constant(sides) + 3], 1)
    planned = formats.plan(header, box, 32)
    assert planned.branch.numpy().tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert planned.window[:, 2].numpy().tolist() == [10, 31, 32, 63, 32, 63, 32, 63, 32, 625]


def test_shrinking_is_free_of_aliasing():
    stripes = np.zeros([256, 256, 3], np.uint8)
    stripes[:, ::2] = 255  # finer than what a 32 px picture can show: grey
    for kind in ("PNG", "JPEG"):
        found = decoded(encoded(Image.fromarray(stripes), kind, quality=95), 32)
        assert_close(found[2:-2, 2:-2], np.full([28, 28, 3], 128), 8)
