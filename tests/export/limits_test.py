"""What strangers send to an export: every row and every request is answered by itself."""

import io
import re
import struct
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.support.encoded import with_stray
from tfssl.export.server.heap import give_back
from tfssl.export.signatures import limits
from tfssl.export.signatures.encoder import encoder_signatures
from tfssl.export.signatures.saving import write_saved_model


def picture(kind: str = "PNG", size: int = 40) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


def png_bomb(side: int = 30_000) -> bytes:
    """A black PNG of side x side pixels in a few kilobytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8 + 1)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def gif_bomb(side: int = 1000, frames: int = 200) -> bytes:
    """An animation of one colour a frame: decoded whole, 600 MB."""
    file = io.BytesIO()
    pictures = [Image.new("P", (side, side), number % 7) for number in range(frames)]
    pictures[0].putpalette([value % 256 for value in range(768)])
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], optimize=False)
    return file.getvalue()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Means of colours as embeddings; of sound, its mean square."""
    folder = tmp_path_factory.mktemp("limits") / "model"
    pixels = keras.Input((16, 16, 3), dtype="uint8")
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    wave = keras.Input((400,), dtype="float32")
    power = keras.ops.mean(keras.ops.square(wave), -1, keepdims=True)
    write_saved_model(encoder_signatures(keras.Model(pixels, mean), 16, keras.Model(wave, power)), folder)
    return folder


@pytest.fixture(scope="module")
def signatures(served):
    return tf.saved_model.load(str(served)).signatures


def test_bad_rows_leave_their_neighbours_alone(signatures):
    good = picture()
    rows = [good, b"", b"no picture", good[:60], png_bomb(5000), picture("TIFF"), good]
    found = signatures["serving_default"](image_bytes=tf.constant(rows))
    assert found["valid"].numpy().tolist() == [True, False, False, False, False, False, True]
    alone = signatures["serving_default"](image_bytes=tf.constant([good]))["embedding"].numpy()
    embedding = found["embedding"].numpy()
    np.testing.assert_allclose(embedding[[0, 6]], np.repeat(alone, 2, 0), atol=1e-6)
    np.testing.assert_array_equal(embedding[1:6], 0)


def test_what_others_read_is_read(signatures):
    """A JPEG with a stray byte between its segments, a BMP with two bytes behind its rows."""
    jpeg, bmp = picture("JPEG"), picture("BMP")
    rows = [jpeg, with_stray(jpeg, b"\0", [1, 2]), bmp, bmp + b"\0\0"]
    found = signatures["serving_default"](image_bytes=tf.constant(rows))
    assert found["valid"].numpy().all()
    embedding = found["embedding"].numpy()
    np.testing.assert_array_equal(embedding[1], embedding[0])
    np.testing.assert_array_equal(embedding[3], embedding[2])


def test_too_many_rows_are_an_error_of_that_request(signatures):
    for name, rows in (
        ("serving_default", {"image_bytes": tf.fill([limits.MAX_ROWS + 1], b"x")}),
        ("pixels", {"pixels": tf.zeros([limits.MAX_ROWS + 1, 16, 16, 3], tf.uint8)}),
        ("waveform", {"waveform": tf.zeros([limits.MAX_ROWS + 1, 400])}),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match="send several requests"):
            signatures[name](**rows)
    assert signatures["pixels"](pixels=tf.zeros([2, 16, 16, 3], tf.uint8))["embedding"].shape == (2, 3)


def test_an_empty_request_has_an_empty_answer(signatures):
    assert signatures["serving_default"](image_bytes=tf.zeros([0], tf.string))["valid"].shape == (0,)
    assert signatures["pixels"](pixels=tf.zeros([0, 16, 16, 3], tf.uint8))["embedding"].shape == (0, 3)
    assert signatures["waveform"](waveform=tf.zeros([0, 400]))["embedding"].shape == (0, 1)


def test_sound_that_is_none_is_not_valid(signatures):
    rows = np.full((5, 400), 0.5, "f4")
    rows[1, 7], rows[2, 3], rows[3] = np.nan, np.inf, 20_000
    found = signatures["waveform"](waveform=tf.constant(rows))
    assert found["valid"].numpy().tolist() == [True, False, False, False, True]
    np.testing.assert_allclose(found["embedding"].numpy()[:, 0], [0.25, 0, 0, 0, 0.25], atol=1e-6)


def memory(field: str) -> float:
    """MiB of this process."""
    return int(re.search(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux")
def test_animated_gif_bomb_and_png_bomb_take_no_memory(signatures):
    """A GIF of 200 frames of a megapixel would take 600 MB, a PNG of 30,000 x 30,000 at three bytes 2.7 GB."""
    embed = signatures["serving_default"]
    good, gif, png = (tf.constant([data]) for data in (picture(), gif_bomb(), png_bomb()))
    assert len(png.numpy()[0]) < 2**20
    embed(image_bytes=good)  # what is done once is done
    give_back()  # so that it shows where memory is taken that others have left
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = memory("VmRSS")
    assert embed(image_bytes=png)["valid"].numpy().tolist() == [False]
    assert embed(image_bytes=gif)["valid"].numpy().tolist() == [True]  # its first frame is a picture like any other
    assert memory("VmHWM") - before < 100


def test_thousands_of_tiny_extensions_do_not_hide_the_frame(signatures):
    """A walk that copied the rest of the file for each of them took seconds a megabyte."""
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (250, 10, 10)).save(file, "GIF")
    plain = file.getvalue()
    at = plain.index(b"\x2c", 13 + 3 * 2 ** ((plain[10] & 7) + 1))  # where the first frame begins
    comments = b"\x21\xfe\x01x\x00" * 5000 + b"\x21\xfe" + (b"\xff" + b"y" * 255) * 400 + b"\x00"
    found = signatures["serving_default"](image_bytes=tf.constant([plain, plain[:at] + comments + plain[at:]]))
    assert found["valid"].numpy().tolist() == [True, True]
    np.testing.assert_array_equal(found["embedding"][0], found["embedding"][1])


@pytest.mark.parametrize("size", [1, 7, 254])
def test_a_gif_of_tiny_blocks_is_the_same_picture(signatures, size):
    """Over many windows of what is walked at once."""
    plain = picture("GIF", 120)
    start = plain.index(b"\x2c", 13 + 3 * 2 ** ((plain[10] & 7) + 1)) + 11
    data, position = b"", start
    while plain[position]:
        data += plain[position + 1 : position + 1 + plain[position]]
        position += 1 + plain[position]
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    again = plain[:start] + b"".join(bytes([len(block)]) + block for block in blocks) + plain[position:]
    comment = b"\x21\xfe" + b"\x01x" * 3000 + b"\x00"
    commented = again[: start - 11] + comment * 2 + again[start - 11 :]
    endless = again[: start - 11] + comment[:-1]
    found = signatures["serving_default"](image_bytes=tf.constant([plain, again, commented, endless]))
    assert found["valid"].numpy().tolist() == [True, True, True, False]
    np.testing.assert_array_equal(found["embedding"][1:3], np.repeat(found["embedding"][:1], 2, 0))


def test_scans_of_a_progressive_jpeg_are_limited(signatures):
    """Each goes over all pixels: 200 empty ones of 8000 x 8000 took 10 s."""

    def scans(side: int, count: int) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (side, side), (200, 40, 90)).save(file, "JPEG", progressive=True)
        data = file.getvalue()
        last = data[data.rindex(b"\xff\xda") : -2]
        return data[:-2] + last * (count - data.count(b"\xff\xda")) + b"\xff\xd9"

    most = limits.MAX_SCANNED // 2000**2
    rows = [scans(40, 10), scans(40, limits.MAX_SCANS), scans(40, limits.MAX_SCANS + 1), scans(2000, most + 1)]
    found = signatures["serving_default"](image_bytes=tf.constant(rows))
    assert found["valid"].numpy().tolist() == [True, True, False, False]


def test_pictures_painted_at_their_own_size_are_limited_together():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def sizes(data):
        return limits.whole_pictures(data, lambda image: tf.strings.as_string(tf.size(image)))

    assert sizes([picture(size=40), b"", picture("JPEG", 24)]).numpy().tolist() == [b"4800", b"", b"1728"]
    large = png_bomb(4096)
    with pytest.raises(tf.errors.InvalidArgumentError, match="pixels together"):
        sizes([large] * 4 + [picture()])  # one pixel too many would do: 4 x 4096 x 4096 is the limit
