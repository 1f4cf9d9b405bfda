import numpy as np
import pytest
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines.ops import tiles

SEED = tf.constant([1, 2])


def numbered(count, size):
    """Pictures whose pixels say where they are: (row, column, number of the picture)."""
    rows, columns = np.mgrid[:size, :size]
    return np.stack([np.stack([rows, columns, np.full_like(rows, i)], -1) for i in range(count)]).astype(np.uint8)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("size", "grid", "cell", "tile"), [(255, 3, 85, 64), (64, 3, 21, 16), (32, 2, 16, 12), (224, 3, 74, 56)]
)
def test_sizes_follow_the_papers(size, grid, cell, tile):
    assert (tiles.cell_size(size, grid), tiles.tile_size(size, grid)) == (cell, tile)


@pytest.mark.parametrize("grid", [2, 3])
@pytest.mark.parametrize("size", [8, 33, 64])
def test_each_tile_is_a_square_of_its_own_cell(size, grid):
    images = numbered(5, size)
    cut = tiles.cut(tf.constant(images), grid, SEED)
    cell, tile = tiles.cell_size(size, grid), tiles.tile_size(size, grid)
    assert cut.shape == (5, grid**2, tile, tile, 3)
    assert cut.dtype == tf.uint8
    for number, picture in enumerate(cut.numpy()):
        for place, found in enumerate(picture):
            top, left = (int(x) for x in found[0, 0, :2])
            np.testing.assert_array_equal(found, images[number, top : top + tile, left : left + tile])
            assert 0 <= top - place // grid * cell <= cell - tile
            assert 0 <= left - place % grid * cell <= cell - tile


def test_boxes_hold_the_cells():
    assert tiles.boxes(64, 3)[4] == (85, 85, 85, 85)  # only cells of 85 pixels have tiles of 64
    for grid, size in [(grid, size) for grid in (2, 3) for size in range(12, 300)]:
        cell = tiles.cell_size(size, grid)
        for place, (top, left, height, width) in enumerate(tiles.boxes(tiles.tile_size(size, grid), grid)):
            assert top <= place // grid * cell <= top + 2
            assert left <= place % grid * cell <= left + 2
            assert (place // grid + 1) * cell <= top + height <= (place // grid + 1) * (cell + 1)
            assert (place % grid + 1) * cell <= left + width <= (place % grid + 1) * (cell + 1)


def test_every_place_is_equally_probable_and_drawn_for_itself():
    cut = tiles.cut(tf.constant(numbered(250, 32)), 2, SEED).numpy()
    jitter = cut[:, :, 0, 0, :2].astype(int) - [(0, 0), (0, 16), (16, 0), (16, 16)]  # [250, 4, (down, right)]
    counts = np.histogram2d(*jitter.reshape(-1, 2).T, bins=5)[0]
    assert counts.sum() == 1000
    assert ((counts - 40) ** 2 / 40).sum() < 52  # chi-square, 24 degrees of freedom, 0.999
    between = np.corrcoef(jitter.reshape(250, 8).T)
    assert np.abs(between - np.eye(8)).max() < 0.25


def test_graph_equals_eager_with_static_shapes_and_the_seed_decides():
    images = tf.constant(numbered(3, 24))
    graph = tf.function(lambda seed: tiles.cut(images, 3, seed))
    assert graph.get_concrete_function(SEED).output_shapes == tf.TensorShape([3, 9, 6, 6, 3])
    np.testing.assert_array_equal(graph(SEED), tiles.cut(images, 3, SEED))
    assert (graph(SEED).numpy() != graph(tf.constant([1, 3])).numpy()).any()


def test_advice_begins_where_tiles_are_under_16_pixels():
    assert tiles.degenerate("jigsaw", 64, 3) == tiles.degenerate("jigsaw", 63, 3) == []
    assert tiles.degenerate("jigsaw", 42, 2) == []
    assert tiles.degenerate("jigsaw", 32, 3) == [
        "tiles are 8 px at --size 32, under 16: jigsaw is degenerate at this size;"
        " give grid=2 (tiles of 12 px) or --size 63 or more"
    ]
    (sentence,) = tiles.degenerate("jigsaw", 41, 2)
    assert "tiles are 15 px at --size 41" in sentence
    assert sentence.endswith("; give --size 42 or more")


def test_pictures_too_small_are_refused():
    with pytest.raises(UserError, match="2 pixels are given, too few to be cut into 3 x 3 tiles"):
        tiles.tile_size(2, 3)
