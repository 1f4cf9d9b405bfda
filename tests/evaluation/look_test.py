"""A collection through an encoder: what `look` writes is what numpy and scikit-learn say; TypiClust by its rule."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

import tfssl
from tfssl.base.errors import UserError
from tfssl.downstream.data import open_parts
from tfssl.evaluation.look import closeness, placing, selection, tables
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source

TOY = "toy:images(count=20, size=32)"


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def features(toy_run, divided_folder) -> dict[str, np.ndarray]:
    """Rows of length 1 of all pictures, by their path below the folder."""
    found = {}
    for part in ("train", "test"):
        source = open_source(divided_folder / part)
        (batch,) = batches.plain(source, 32, 64)
        rows = toy_run.encoder("stage4")(batch["image"]).numpy()
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        found |= {
            str(Path(path).relative_to(divided_folder)): row for path, row in zip(source.paths, rows, strict=True)
        }
    return found


def test_distances_are_those_of_scikit_learn(toy_look, features):
    rows = table(toy_look, "outliers")
    names, matrix = list(features), np.stack(list(features.values()))
    distances, _ = NearestNeighbors(n_neighbors=11).fit(matrix).kneighbors(matrix)
    expected = dict(zip(names, distances[:, 1:].mean(1), strict=True))
    assert {row["file"] for row in rows} == set(names)
    away = [float(row["distance"]) for row in rows]
    assert away == sorted(away, reverse=True)
    np.testing.assert_allclose(away, [expected[row["file"]] for row in rows], atol=3e-3)  # features are float16
    assert [row["part"] for row in rows] == [row["file"].split("/")[0] for row in rows]
    assert [row["label"] for row in rows] == [row["file"].split("/")[1] for row in rows]


def test_near_duplicates_and_the_leak(toy_look):
    groups: dict[str, set[str]] = {}
    for row in table(toy_look, "duplicates"):
        groups.setdefault(row["group"], set()).add(row["file"])
    assert {"train/a/00.png", "train/a/copy.png"} in groups.values()
    assert {"train/b/01.png", "test/b/leaked.jpg"} in groups.values()
    page = (toy_look / "index.html").read_text()
    assert "A leak: 1 picture of test or validation has a near-duplicate in training." in page


def test_the_map_is_that_of_pca(toy_look, features):
    rows = table(toy_look, "map")
    places = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    expected = PCA(2).fit_transform(np.stack([features[row["file"]] for row in rows]))
    for own, other in zip(places.T, expected.T, strict=True):
        assert (own.min(), own.max()) == (0, 1)
        assert abs(np.corrcoef(own, other)[0, 1]) > 0.999
    text = (toy_look / "index.html").read_text()
    points = json.loads(re.search(r'id="points">(.*?)</script>', text)[1])
    assert [each[4] for each in points["points"]] == [row["file"] for row in rows]
    assert [points["classes"][each[2]] for each in points["points"]] == [row["label"] for row in rows]
    selected = {row["file"] for row in table(toy_look, "selected")}
    assert {each[4] for each in points["points"] if each[3] & 1} == selected
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "default-src 'none'" in text


def test_what_is_selected_can_be_learned_from(toy_look, divided_folder):
    rows = table(toy_look, "selected")
    assert [row["order"] for row in rows] == list("12345")
    assert all(row["file"].startswith("train/") for row in rows)
    parts = open_parts(divided_folder, _both(toy_look, divided_folder), None, 0, 0.01)
    assert parts.train.count == 5
    named = [parts.classes[label] for label in parts.train.labels]
    assert named == [Path(path).parent.name for path in parts.train.source.paths]


def _both(toy_look: Path, divided_folder: Path) -> Path:
    """Write the selected with labels of the test pictures, as somebody does who fills the table."""
    to = divided_folder.parent / "filled.csv"
    lines = (toy_look / "selected.csv").read_text().splitlines()
    lines += [f"0,{path.relative_to(divided_folder)},{path.parent.name}" for path in divided_folder.glob("test/*/*")]
    to.write_text("\n".join(lines))
    return to


def test_labels_that_were_filled_in_are_kept(toy_look, tmp_path):
    shutil.copy(toy_look / "selected.csv", tmp_path)
    rows = [tuple(row.values()) for row in table(tmp_path, "selected")]
    head = ("order", "file", "label")
    tables.keep_filled(tmp_path / "selected.csv", [head, *rows])  # the same again may be written
    (tmp_path / "selected.csv").write_text("order,file,label\n1,a.png,mine\n")
    with pytest.raises(UserError, match="is there and says something else, labels perhaps; move it"):
        tables.keep_filled(tmp_path / "selected.csv", [head, *rows])


def test_what_is_labelled_is_not_selected_again(toy_run, divided_folder, tmp_path):
    """Another look, for some seconds: at pictures of which a table has labels, sampled, by another name of a part."""
    train = divided_folder / "train"
    labelled = sorted(str(path.relative_to(train)) for path in train.glob("*/*"))[::2]
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{each},known\n" for each in labelled))
    found = tfssl.look(
        train,
        toy_run,
        tmp_path / "look",
        labels=tmp_path / "labels.csv",
        test=divided_folder / "test",
        select=4,
        limit=40,
        mapped=8,
        layout="pca",
    )
    assert (found.pictures, found.whole, found.mapped, found.labelled) == (40, 44, 8, len(labelled))
    assert len(set(found.selected)) == 4
    assert not set(found.selected) & set(labelled)
    rows = table(found.folder, "map")
    assert len(rows) == 8
    assert set(found.selected) <= {row["file"] for row in rows}
    assert found.right is None  # one label is no class to tell from others
    assert "drawn by the seed from 44, --limit takes more" in str(found)
    assert "4 pictures to label first, beside 16 labelled so far" in str(found)


def blobs(sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of length 1 around as many directions, and which each is of."""
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(len(sizes)), sizes)
    rows = np.eye(len(sizes), 8)[which] + 0.15 * rng.normal(size=(len(which), 8))
    order = rng.permutation(len(which))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)[order], which[order]


def most_typical(rows: np.ndarray, among: list[int]) -> int:
    """The one with the least mean distance to its nearest, counted one by one."""
    k = min(20, len(among) // 2)

    def away(number: int) -> float:
        return float(np.mean(sorted(np.linalg.norm(rows[number] - rows[each]) for each in among if each != number)[:k]))

    return min(among, key=away)


def test_typiclust_takes_the_typical_of_clusters_without_labels():
    rows, which = blobs([50, 30, 12, 8])
    labelled = np.zeros(len(rows), bool)
    labelled[np.flatnonzero(which == 0)[0]] = True
    # Of 1 + 3 clusters the labelled one comes last, the others by their size.
    expected = [most_typical(rows, np.flatnonzero(which == blob).tolist()) for blob in (1, 2, 3)]
    assert selection.select(rows, labelled, 3, seed=1).tolist() == expected
    assert selection.select(rows, labelled, 3, seed=1).tolist() == expected


def test_typiclust_goes_around(monkeypatch):
    """With fewer clusters than are asked for: what is taken counts no more for what is typical."""
    monkeypatch.setattr(selection, "LIMIT", 3)
    rows, which = blobs([9, 7, 4])
    none = np.zeros(len(rows), bool)
    left = {blob: np.flatnonzero(which == blob).tolist() for blob in range(3)}
    expected = []
    for blob in [0, 1] * 7 + [0, 0]:  # that of 4 pictures is passed over while others have any
        expected.append(most_typical(rows, left[blob]) if len(left[blob]) > 1 else left[blob][0])
        left[blob].remove(expected[-1])
    assert selection.select(rows, none, 16, seed=0).tolist() == expected
    assert sorted(selection.select(rows, none, 20, seed=0).tolist()) == list(range(20))


def test_clusters_are_those_of_k_means():
    rows, _ = blobs([20] * 6)
    chosen = selection.select(rows, np.zeros(len(rows), bool), 10, seed=3)
    clusters = KMeans(10, n_init=10, random_state=3).fit_predict(rows)
    large = [each for each in range(10) if (clusters == each).sum() > 5]
    assert set(clusters[chosen]) == set(large)


def test_groups_are_what_a_chain_joins():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(9, 256)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    def between(one: int, share: float) -> np.ndarray:
        other = rng.normal(size=256)
        other -= other @ rows[one] * rows[one]
        return share * rows[one] + np.sqrt(1 - share**2) * other / np.linalg.norm(other)

    rows[4], rows[7] = between(0, 0.97), rows[2]
    rows[8] = between(4, 0.96)  # like 4, but not like 0
    assert rows[8] @ rows[0] < 0.95
    groups = closeness.groups_of(rows)
    assert [each.tolist() for each in closeness.several(groups)] == [[0, 4, 8], [2, 7]]
    assert closeness.have_like(rows[[8, 7, 1]], rows[[0, 2, 3]]).tolist() == [False, True, False]  # no chain is a leak
    copies = np.tile(rows[:1], (3000, 1))
    assert len(np.unique(closeness.groups_of(copies))) == 1


def test_votes_as_counted_one_by_one():
    rows, labels = blobs([12, 9, 9])
    labels[3] = -1
    groups = np.arange(len(rows))
    groups[5] = groups[6]
    numbers, distances = closeness.nearest(rows)
    shares = closeness.votes(numbers, distances, groups, labels, 3)
    for row in range(len(rows)):
        cosines = rows @ rows[row]
        votes = np.zeros(3)
        for each in np.argsort(-cosines)[1:11]:
            if labels[each] >= 0 and groups[each] != groups[row]:
                votes[labels[each]] += np.exp((cosines[each] - 1) / 0.07)
        np.testing.assert_allclose(shares[row], votes / votes.sum(), atol=1e-3)
    assert closeness.confused(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 2, 2, 2])) == [(1, 2, 2), (0, 1, 1)]


@pytest.mark.slow
def test_umap_keeps_neighbours_and_repeats():
    """UMAP itself: some ten seconds, in which numba compiles it."""
    pytest.importorskip("umap", reason="needs pip install '.[look]'")
    rows, which = blobs([20, 20, 20])
    places, method = placing.places(rows, "umap", seed=0)
    assert method == "umap"
    assert ((places >= 0) & (places <= 1)).all()
    _, near = NearestNeighbors(n_neighbors=6).fit(places).kneighbors(places)
    assert (which[near[:, 1:]] == which[:, None]).mean() > 0.95
    np.testing.assert_array_equal(placing.places(rows, "umap", seed=0)[0], places)
    assert placing.places(rows[:15], "umap", seed=0)[1] == "pca"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"data": "toy:images(count=1, size=32)"}, r"has 1 picture, expected 3 at least .*; give more"),
        ({"select": 21}, r"--select 21 is given, but toy.* has 20 pictures to choose from; give from 1"),
        ({"select": 0}, "select=0 is given, expected at least 1"),
        ({"data": "flat"}, "the features of stage4 of .* are the same for all 4 pictures"),
        ({"data": "nowhere"}, "nowhere"),
        ({"data": "toy:text(count=20)"}, "holds no pictures"),
        ({"data": "empty"}, "empty"),
        ({"subject": "nothing"}, "nothing is no run"),
        ({"stage": "stage9"}, "--stage stage9 is given, .* has: stage1"),
        ({"labels": "labels.csv"}, r"labels.csv has no label of a picture of toy.*such as toy"),
        ({"layout": "tsne"}, "layout='tsne' is given, expected one of: umap, pca"),
        ({"to": "letter.txt"}, "--to letter.txt is a file, expected a folder to write"),
    ],
)
def test_wrong_input(toy_run, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    Path("letter.txt").write_text("Dear reader,")
    Path("labels.csv").write_text("file,label\nother.png,a\n")
    for folder in ("flat", "empty"):
        Path(folder).mkdir()
    for number in range(4):
        Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(f"flat/{number}.png")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=says) as problem:
        tfssl.look(**{"data": TOY, "subject": toy_run, "to": "seen", "layout": "pca", **arguments})
    assert "\n" not in str(problem.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_without_umap(toy_run, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs umap-learn: pip install 'tfssl\[look\]'; or give --layout pca"):
        tfssl.look(TOY, toy_run, tmp_path / "seen")


def test_no_labels_and_no_groups(toy_run, tmp_path):
    """A flat folder: what needs labels is left out, and said by no word. Some seconds for a graph."""
    source = open_source("toy:images(count=6, size=32)")
    for number, data in enumerate(source.encoded):
        (tmp_path / f"{number}.png").write_bytes(data)
    found = tfssl.look(tmp_path, toy_run, tmp_path / "seen")
    assert (found.right, found.leaked, found.groups, found.layout, found.neighbours) == (None, None, 0, "pca", 5)
    assert str(found).splitlines()[1:2] == ["No two pictures are near-duplicates."]
    assert len(str(found).splitlines()) == 3
    page = (found.folder / "index.html").read_text()
    assert "What is taken for what" not in page
    assert "What to label first" not in page
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "duplicates.csv",
        "index.html",
        "map.csv",
        "outliers.csv",
    ]


def test_what_is_broken_is_counted(toy_run, tmp_path):
    """One that its header shows, and one that ends in the middle."""
    noise = np.random.default_rng(0).integers(0, 256, (18, 32, 32, 3), np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg")
    whole = (tmp_path / "0.jpg").read_bytes()
    (tmp_path / "0.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    found = tfssl.look(tmp_path, toy_run, tmp_path / "seen", layout="pca", max_broken=0.2)
    assert (found.pictures, found.broken, found.whole) == (16, 2, 18)
    assert found.opening.endswith("cannot be decoded: 2")
