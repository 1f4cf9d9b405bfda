import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfssl.multitask import puzzle_stream
from tfssl.pipelines import batches, progress
from tfssl.pipelines.decoding import cache, formats, headers, orientation, picture_crops, random_crops
from tfssl.pipelines.ops import geometry
from tfssl.pipelines.sources.any_source import open_source


def picture(height: int, width: int, seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, [6, 7, 3], np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def save(folder, sides, kind="jpg", **settings):
    folder.mkdir(exist_ok=True)
    for number, (height, width) in enumerate(sides):
        picture(height, width, number).save(folder / f"{number:03d}.{kind}", **settings)
    return open_source(folder)


def crops(source, size, memory, indices=None, seed=3):
    cut = cache.training_crops(source, size, memory)
    index = tf.range(source.count, dtype=tf.int64) if indices is None else tf.constant(indices, tf.int64)
    return tf.function(lambda: cut(index, tf.constant([1, seed])))()


def cut_off(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_small_pictures_give_the_same_pixels(tmp_path, kind):
    source = save(tmp_path, [(32, 32), (30, 37), (20, 50), (39, 33), (8, 9)], kind)
    kept, valid = crops(source, 32, cache.MEMORY, [3, 1, 1, 0, 4, 2])
    expected, _ = crops(source, 32, 0, [3, 1, 1, 0, 4, 2])
    np.testing.assert_array_equal(kept, expected)
    assert valid.numpy().all()


@pytest.mark.parametrize("settings", [{"quality": 95, "subsampling": 0}, {"quality": 95}])
def test_boxes_of_jpegs_are_those_of_decoding(tmp_path, settings):
    # Every scale, pictures that are small for the size, and one turned by its orientation.
    source = save(tmp_path, [(48, 64), (90, 70), (150, 140), (300, 280), (600, 420), (33, 32)], **settings)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(100, 80, 9).save(tmp_path / "turned.jpg", exif=exif, **settings)
    source = open_source(tmp_path)
    for seed in range(5):
        kept, valid = crops(source, 32, cache.MEMORY, seed=seed)
        expected, _ = crops(source, 32, 0, seed=seed)
        assert valid.numpy().all()
        difference = np.abs(kept.numpy().astype(int) - expected.numpy())
        if "subsampling" in settings:
            assert difference.max() == 0
        else:  # at the sides, where colour is smoothed
            assert difference[:, 3:-3, 3:-3].max() <= 1
            assert difference.mean() < 0.5


def test_boxes_of_other_formats_are_exact(tmp_path):
    sides = [(48, 64), (90, 70), (150, 140), (33, 32)]
    save(tmp_path, sides, "png")
    save(tmp_path, sides, "webp", lossless=True)
    source = save(tmp_path, sides, "gif")
    assert source.count == 12
    np.testing.assert_array_equal(crops(source, 32, cache.MEMORY)[0], crops(source, 32, 0)[0])


def test_a_box_always_has_its_level():
    size, count = 32, 20000
    sides = tf.random.stateless_uniform([2, count], [0, 1], 40, 600, tf.int32)
    header = headers.Header(tf.fill([count], headers.JPEG), sides[0], sides[1], tf.ones([count], tf.int32), None)
    layout = cache._layout(header, size)
    box = random_crops.random_box(header.height, header.width, tf.constant([2, 3]))
    level = formats.scale(tf.reduce_min(box[:, 2:], axis=1), size).numpy()
    assert set(level) == {0, 1, 2, 3}
    assert np.all((layout.first <= level) & (level <= layout.last))
    assert np.all(box[:, 2:].numpy().min(1) >= random_crops.shortest_side(header.height, header.width).numpy())


def test_what_is_needed_is_what_is_kept(tmp_path):
    source = save(tmp_path / "large", [(100, 81), (64, 50)])
    # At 32 px the first gives boxes of 46 to 81 pixels: at 1 and 1/2; the second of 28 to 50: at 1.
    assert cache.needed(source, 32) == 3 * (100 * 81 + 50 * 41 + 64 * 50)
    small = save(tmp_path / "small", [(32, 32), (20, 60)])
    assert cache.needed(small, 32) == 2 * 32 * 32 * 4
    mixed = save(tmp_path / "mixed", [(32, 32), (64, 50)])
    assert cache.needed(mixed, 32) == 3 * (32 * 32 + 64 * 50)


def test_a_source_over_the_limit_is_decoded_each_time(tmp_path):
    source = save(tmp_path, [(32, 32), (32, 32)])
    assert cache.fits(source, 32, 8192)
    assert not cache.fits(source, 32, 8191)
    kept = crops(source, 32, 8192, [0])[0]
    picture(32, 32, 7).save(tmp_path / "000.jpg")
    np.testing.assert_array_equal(crops(source, 32, 8192, [0])[0], kept)
    assert np.abs(crops(source, 32, 8191, [0])[0].numpy().astype(int) - kept.numpy()).mean() > 20


def test_pictures_are_decoded_once_for_a_source_and_size(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    monkeypatch.setattr(cache, "MOST", 1)
    source = save(tmp_path, [(32, 32), (32, 32)])
    first = cache.training_crops(source, 32)
    expected = [
        f"1 of 2 pictures decoded into memory: {tmp_path}",
        f"2 pictures decoded into memory in 1 s: {tmp_path}",
    ]
    assert re.sub(r"\d+ s", "1 s", capsys.readouterr().err).splitlines() == expected
    assert cache.training_crops(source, 32) is first
    assert capsys.readouterr().err == ""
    assert cache.training_crops(source, 28) is not first


@pytest.mark.parametrize("side", [32, 90])
def test_decoding_is_quiet_where_it_is_told_to_be(tmp_path, capsys, monkeypatch, side):
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    monkeypatch.setattr(cache, "MOST", 1)
    save(tmp_path, [(side, side)] * 3)
    puzzle_stream.puzzles(tmp_path, "rotation", 32, 2)
    assert "of 3 pictures decoded into memory" in capsys.readouterr().err
    puzzle_stream.puzzles(tmp_path, "rotation", 32, 2, verbose=0)
    assert capsys.readouterr().err == ""


def one_by_one(source, layout, size):
    """What `Boxes` keep, each picture decoded by itself; and which can be."""
    kept, good = [], []
    for number, path in enumerate(map(Path, source.paths)):
        header = headers.Header(*source.header[number])
        read = headers.Header(*(tf.constant([each]) for each in header))
        box = orientation.stored_box(read, random_crops.centre_box(*orientation.upright_size(read)))
        row = formats.Plan(*(each[0] for each in formats.plan(read, box, size)))
        try:
            if 4 * min(header.height, header.width) < 5 * size:
                found = [formats.decode(tf.constant(path.read_bytes()), row, size)]
            elif header.format == headers.JPEG:
                ratios = formats.RATIOS[layout.first[number] : layout.last[number] + 1]
                accurate = {"channels": 3, "dct_method": "INTEGER_ACCURATE"}
                found = [tf.io.decode_jpeg(path.read_bytes(), ratio=ratio, **accurate) for ratio in ratios]
            else:
                found = [np.asarray(Image.open(path).convert("RGB"))]
            block = np.concatenate([np.ravel(each) for each in found])
        except (tf.errors.InvalidArgumentError, OSError):
            block = np.zeros([0], np.uint8)
        good.append(len(block) == layout.bytes[number])
        kept.append(block if good[-1] else np.zeros([layout.bytes[number]], np.uint8))
    return np.concatenate(kept), good


def test_what_is_kept_is_what_decoding_one_by_one_gives(tmp_path, monkeypatch):
    # All ways of decoding at once, pictures in one piece and in many, and a batch that ends in the midst of one.
    save(tmp_path, [(48, 64), (70, 90), (150, 140), (300, 280), (33, 32), (90, 90), (20, 30), (64, 50)])
    save(tmp_path, [(48, 64), (33, 32), (41, 90)], "png")
    save(tmp_path, [(48, 64)], "gif")
    source = open_source(tmp_path)
    for name in ("001.jpg", "004.jpg", "000.png"):
        cut_off(tmp_path / name)
    wrong = source.paths.index(str(tmp_path / "005.jpg"))
    changed = source.header.copy()
    changed[wrong, 1] += 1  # its height
    source = dataclasses.replace(source, header=changed)
    layout = cache._layout(cache._headers(source), 32)
    expected, good = one_by_one(source, layout, 32)
    lost = [Path(path).name for path, well in zip(source.paths, good, strict=True) if not well]
    assert lost == ["000.png", "001.jpg", "004.jpg", "005.jpg"]
    monkeypatch.setattr(cache, "PIECE", 1000)
    monkeypatch.setattr(cache, "BLOCK", 7000)
    kept = cache.Boxes(source, 32)
    np.testing.assert_array_equal(kept._pixels, expected)
    np.testing.assert_array_equal(kept._valid, good)


def test_squares_kept_are_those_that_serving_decodes(tmp_path, monkeypatch):
    save(tmp_path, [(32, 32), (30, 37), (20, 50), (39, 33), (8, 39), (16, 16)])
    save(tmp_path, [(32, 32), (9, 20), (39, 32)], "png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(39, 30, 9).save(tmp_path / "turned.jpg", exif=exif)
    source = open_source(tmp_path)
    for name in ("001.jpg", "002.png"):
        cut_off(tmp_path / name)
    monkeypatch.setattr(cache, "MOST", 2)
    kept = cache.Squares(source, 32)
    images, valid = picture_crops.pictures(tf.constant([Path(path).read_bytes() for path in source.paths]), 32)
    np.testing.assert_array_equal(kept._pixels, np.ravel(geometry.pack(images)))
    np.testing.assert_array_equal(kept._valid, valid)
    assert np.count_nonzero(valid) == source.count - 2


def test_pictures_come_by_batches(tmp_path):
    small = save(tmp_path / "small", [(32, 32)] * 40)
    assert [len(number) for number, _ in cache._squares(small, 32)] == [40]
    layout = cache._layout(cache._headers(small), 24)
    assert [len(number) for number, *_ in cache._pieces(small, layout, 24)] == [40]
    large = save(tmp_path / "large", [(300, 300)] * 9)
    layout = cache._layout(cache._headers(large), 200)
    assert set(layout.bytes) == {300 * 300 * 3}  # 17 pieces of 16 KiB
    numbers = [number for number, *_ in cache._pieces(large, layout, 200)]
    assert [len(number) for number in numbers] == [128, 25]
    np.testing.assert_array_equal(np.bincount(np.concatenate(numbers)), 17)


def test_pixels_go_when_their_source_goes(tmp_path):
    source = save(tmp_path, [(32, 32), (32, 32)])
    cache.training_crops(source, 32)
    before = len(cache._kept)
    del source
    assert len(cache._kept) == before - 1


def test_a_part_of_a_source(tmp_path):
    source = save(tmp_path, [(32, 32)] * 6)
    part = source.subset(np.array([4, 1]), "part")
    np.testing.assert_array_equal(crops(part, 32, cache.MEMORY)[0], crops(source, 32, cache.MEMORY, [4, 1])[0])


@pytest.mark.parametrize("side", [32, 90])
def test_broken_pictures_are_marked_and_replaced(tmp_path, side):
    rng = np.random.default_rng(0)
    for number in range(6):
        noise = rng.integers(0, 256, [side, side, 3], np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.jpg", quality=95)
    cut_off(tmp_path / "2.jpg")
    source = open_source(tmp_path)
    assert source.count == 6
    images, valid = crops(source, 32, cache.MEMORY)
    np.testing.assert_array_equal(valid, np.arange(6) != 2)
    np.testing.assert_array_equal(images.numpy().any((1, 2, 3)), valid)
    broken = batches.BrokenPictures(source)
    (batch,) = batches.training(source, 32, 6, seed=0, broken=broken).take(1)
    assert batch["image"].numpy().any((1, 2, 3)).all()
    assert list(broken.names()) == [str(tmp_path / "2.jpg")]


@pytest.mark.parametrize("side", [32, 90])
def test_same_batches_whatever_the_start_the_parallelism_and_the_strategy(tmp_path, side, replicas):
    source = save(tmp_path, [(side, side)] * 5)
    whole = [batch["image"].numpy() for batch in batches.training(source, 32, 3, seed=5).take(4)]
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.autotune.enabled = False
    with replicas.scope():
        late = batches.training(open_source(tmp_path), 32, 3, seed=5, start=2).with_options(options)
    for one, other in zip(whole[2:], late.take(2), strict=True):
        np.testing.assert_array_equal(one, other["image"])
    assert (whole[0] != whole[1]).any()


def test_photos(real_data):
    files = sorted((real_data / "photos").rglob("*.JPEG"))[:24]
    source = open_source(tf.data.Dataset.from_tensor_slices([file.read_bytes() for file in files]))
    for size in (64, 224):
        kept, valid = crops(source, size, cache.MEMORY)
        difference = np.abs(kept.numpy().astype(int) - crops(source, size, 0)[0].numpy())
        assert valid.numpy().all()
        assert difference.mean() < 0.2
        assert difference[:, 4:-4, 4:-4].max() <= 2


def test_encoded_in_memory():
    buffer = io.BytesIO()
    picture(70, 60, 1).save(buffer, "png")
    source = open_source(tf.data.Dataset.from_tensors(buffer.getvalue()))
    np.testing.assert_array_equal(crops(source, 32, cache.MEMORY)[0], crops(source, 32, 0)[0])
