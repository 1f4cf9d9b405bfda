import itertools
import math
import stat

import numpy as np
import pytest

from tfssl.base.errors import UserError
from tfssl.tasks.parts import permutations
from tfssl.tasks.parts.permutations import Quality, permutation_set, quality, search


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    permutation_set.cache_clear()
    yield tmp_path / "tfssl"
    permutation_set.cache_clear()


@pytest.fixture(scope="module")
def two_thousand():
    return search(9, 2000)


def brute_force(rows):
    """`quality` by loops over pairs, tiles and positions."""
    distances = [sum(a != b for a, b in zip(one, other, strict=True)) for one, other in itertools.combinations(rows, 2)]
    times = [sum(row[p] == tile for row in rows) for p in range(len(rows[0])) for tile in range(len(rows[0]))]
    close = sum(distance <= 2 for distance in distances)
    mean = sum(distances) / len(distances)
    return Quality(len(rows), min(distances), pytest.approx(mean, abs=1e-9), close, min(times), max(times))


@pytest.mark.smoke
def test_hundred_of_nine_as_promised():
    found = quality(permutation_set(9, 100))
    assert found == Quality(100, 6, pytest.approx(8.080, abs=5e-4), 0, 11, 12)
    assert str(found) == (
        "100 permutations, Hamming distance at least 6, mean 8.080, 0 pairs at 2 or less, "
        "a tile stands 11 to 12 times at a position"
    )
    assert str(quality(permutation_set(4, 16))).endswith(", a tile stands 4 times at a position")


@pytest.mark.parametrize(
    ("classes", "least", "mean", "fewest", "most"),
    [(701, 5, 8.011, 77, 79), (1000, 5, 8.008, 110, 112), (2000, 4, 8.004, 222, 223)],
)
def test_large_sets_as_promised(two_thousand, classes, least, mean, fewest, most):
    rows = two_thousand[:classes]
    assert quality(rows) == Quality(classes, least, pytest.approx(mean, abs=5e-4), 0, fewest, most)
    assert len(np.unique(rows, axis=0)) == classes


def test_a_larger_set_begins_with_the_smaller(two_thousand):
    np.testing.assert_array_equal(permutation_set(9, 50), two_thousand[:50])
    np.testing.assert_array_equal(permutation_set(4, 7), permutation_set(4, 24)[:7])


def test_quality_is_what_loops_find():
    found = np.random.default_rng(0)
    any_rows = np.unique(found.permuted(np.tile(np.arange(5, dtype=np.uint8), (60, 1)), axis=1), axis=0)
    for rows in (any_rows, search(4, 24), search(9, 40), search(3, 2)):
        assert quality(rows) == brute_force(rows.tolist())


def test_quality_of_more_rows_than_a_chunk_has():
    rows = np.array(list(itertools.permutations(range(7))), np.uint8)[:2003]
    distances = (rows[:, None] != rows).sum(2)[np.triu_indices(2003, 1)]
    found = quality(rows)
    assert (found.least, found.close) == (distances.min(), (distances <= 2).sum())
    assert found.mean == pytest.approx(distances.mean(), abs=1e-9)


@pytest.mark.parametrize(("tiles", "classes"), [(2, 2), (3, 6), (4, 5), (4, 24), (9, 9), (9, 10)])
def test_rows_are_permutations_and_differ(tiles, classes):
    rows = permutation_set(tiles, classes)
    assert rows.shape == (classes, tiles)
    assert rows.dtype == np.uint8
    np.testing.assert_array_equal(np.sort(rows, 1), np.tile(np.arange(tiles), (classes, 1)))
    assert len(np.unique(rows, axis=0)) == classes


def test_each_step_is_the_best_there_is():
    chosen = search(5, 30).tolist()
    everything = list(itertools.permutations(range(5)))
    for step in range(1, 30):
        before = chosen[:step]

        def worth(one, before=before):
            distances = [sum(a != b for a, b in zip(one, other, strict=True)) for other in before]
            stood = max(sum(other[p] == tile for other in before) for p, tile in enumerate(one))
            return min(distances), sum(distances), -stood

        assert worth(chosen[step]) == max(map(worth, everything))


def test_nine_of_nine_share_no_place():
    assert quality(permutation_set(9, 9)) == Quality(9, 9, 9.0, 0, 1, 1)


@pytest.mark.parametrize(("tiles", "classes"), [(9, 1), (9, 0), (4, 25), (9, math.factorial(9) + 1), (10, 100), (1, 2)])
def test_what_there_is_not(tiles, classes):
    with pytest.raises(UserError, match=r"asked for.*give 2 to"):
        permutation_set(tiles, classes)


def test_read_from_the_cache(cache_folder, monkeypatch):
    first = permutation_set(9, 20)
    assert [path.name for path in cache_folder.iterdir()] == ["permutations-v1-9-20.npy"]
    assert permutation_set(9, 20) is first
    permutation_set.cache_clear()
    monkeypatch.setattr(permutations, "search", lambda tiles, classes: pytest.fail("searched again"))
    np.testing.assert_array_equal(permutation_set(9, 20), first)
    with pytest.raises(ValueError, match="read-only"):
        permutation_set(9, 20)[0, 0] = 1


def not_a_permutation():
    rows = search(4, 6)
    rows[3, 0] = rows[3, 1]
    return rows


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"no array",
        b"half",
        search(4, 7),
        search(4, 6).astype(np.int64),
        not_a_permutation(),
        search(4, 3)[[0] * 6],
    ],
    ids=["empty", "text", "half", "other count", "other type", "a tile twice", "a row twice"],
)
def test_a_wrong_file_is_made_anew(cache_folder, wrong):
    right = search(4, 6)
    path = cache_folder / "permutations-v1-4-6.npy"
    permutation_set(4, 6)
    if isinstance(wrong, np.ndarray):
        np.save(path, wrong)
    else:
        path.write_bytes(path.read_bytes()[:-9] if wrong == b"half" else wrong)
    permutation_set.cache_clear()
    np.testing.assert_array_equal(permutation_set(4, 6), right)
    np.testing.assert_array_equal(np.load(path), right)
    assert len(list(cache_folder.iterdir())) == 1


def test_without_a_folder_to_write(cache_folder):
    cache_folder.write_text("a file where the folder should be")
    np.testing.assert_array_equal(permutation_set(4, 6), search(4, 6))


def test_in_a_folder_that_is_read_only(cache_folder):
    cache_folder.mkdir()
    cache_folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    np.testing.assert_array_equal(permutation_set(4, 6), search(4, 6))
    cache_folder.chmod(stat.S_IRWXU)
