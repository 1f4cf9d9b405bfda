"""Text as a source: what is a word, lines, files of every kind, and the same passages from any step."""

import gzip
import re
import unicodedata
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import absolute_name, open_source
from tfssl.pipelines.text import blocks, corpus, vocabulary
from tfssl.pipelines.text.corpus import PASSAGE
from tfssl.pipelines.text.splitting import split_words
from tfssl.pipelines.toy_world import sentences

JOIN = "'\u2019_-"
ODD = [
    "The cat's eyes - well-known, 'quoted' - shine.",
    "Größe, Ωμέγα; naïve café déjà-vu... 3,5 km/h",
    "  \t ",
    "снег_снег -- идёт\u2019 «да» नमस्ते 東京",
    "-'-",
    "end\u00a0of\u2003line",
]


def words_of(line):
    """What a word is, said once more: runs of letters, marks, digits and what joins them, joiners stripped."""
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or c in JOIN else " " for c in line)
    return [word for part in kept.split() if (word := part.strip(JOIN))]


def lines_of(source):
    """The lines of a source's corpus, out of its numbers."""
    ids = np.fromfile(source.corpus.ids, np.int32)
    assert len(ids) == source.count * PASSAGE
    parts = np.split(ids, np.flatnonzero(ids < 0) + 1)
    return [[source.corpus.types[i].decode() for i in part if i >= 0] for part in parts if (part >= 0).any()]


def test_words_are_letters_marks_and_digits_with_what_joins_them():
    expected = [words_of(line) for line in ODD]
    assert expected[0] == ["The", "cat's", "eyes", "well-known", "quoted", "shine"]
    eager = split_words(tf.constant(ODD), "words").to_list()
    stream = tf.data.Dataset.from_tensors(ODD).map(lambda texts: split_words(texts, "words"))
    for made in (eager, next(iter(stream)).to_list()):
        assert [[word.decode() for word in line] for line in made] == expected
    spaces = split_words(tf.constant(["<unk> a,b  c\td"]), "spaces").to_list()
    assert spaces == [[b"<unk>", b"a,b", b"c", b"d"]]


def test_files_folders_and_gzip_are_one_text(tmp_path):
    (tmp_path / "more" / "deep").mkdir(parents=True)
    (tmp_path / "first, of two.txt").write_text("\ufeff" + "\n".join(ODD), encoding="utf-8")
    (tmp_path / "more" / "deep" / "b.txt.gz").write_bytes(gzip.compress(b"zwei drei\n\n\nvier", mtime=0))
    (tmp_path / "more" / "a.text").write_text("one\r\ntwo one\r\n")
    (tmp_path / "more" / "c.pdf").write_bytes(b"\xff")
    expected = [words for line in ODD if (words := words_of(line))]
    more = [["one"], ["two", "one"], ["zwei", "drei"], ["vier"]]
    source = open_source(f"text:{tmp_path / 'first, of two.txt'}")
    assert lines_of(source) == expected
    assert lines_of(open_source(f"text:{tmp_path / 'more'}")) == more
    packed = tmp_path / "more" / "deep" / "b.txt.gz"
    both = open_source(f"text:{packed}, {tmp_path / 'more' / 'a.text'}")
    assert lines_of(both) == more[2:] + more[:2]
    assert (both.corpus.tokens, both.corpus.lines) == (6, 4)
    assert dict(zip(both.corpus.types, both.corpus.counts.tolist(), strict=True))[b"one"] == 2


def test_blocks_end_where_words_do_and_change_nothing(tmp_path):
    """A block of a few bytes meets what one of a megabyte meets once in a corpus: ends of it within lines and words."""
    text = "".join(f"{'длинное ' * 30}{n} слово\n\n" for n in range(20)) + "last"
    (tmp_path / "a.txt").write_text(text)
    found = list(blocks.of_files([str(tmp_path / "a.txt")], size=64))
    assert len(found) > 50
    assert b"".join(found).decode() == text + "\n"
    assert all(block[-1:] in (b" ", b"\n") for block in found[:-2])  # "last" and its end come last
    whole = corpus.open_corpus(1, lambda: iter([text.encode()]), "words", "a", verbose=0)
    parts = corpus.open_corpus(2, lambda: iter(found), "words", "a", verbose=0)
    assert whole.ids.read_bytes() == parts.ids.read_bytes()
    assert whole.types == parts.types


def test_one_line_of_ten_megabytes(tmp_path):
    (tmp_path / "a.txt").write_text("word other " * 1_000_000)
    source = open_source(f"text:{tmp_path / 'a.txt'}")
    assert (source.corpus.tokens, source.corpus.lines) == (2_000_000, 1)
    found = list(blocks.of_files([str(tmp_path / "a.txt")]))
    assert len(found) > 10
    assert max(map(len, found)) < blocks.BLOCK + 10  # what is left of a word, beside the next block


def test_a_word_without_an_end_is_cut_at_a_character(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "LONGEST", 100)
    (tmp_path / "a.txt").write_text("東" * 1000)
    found = list(blocks.of_files([str(tmp_path / "a.txt")], size=50))
    assert b"".join(found).decode() == "東" * 1000 + "\n"
    assert len(found) > 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"fine\n\ncaf\xe9 is not\n", r"a.txt, line 3: byte 0xe9 is not UTF-8; convert"),
        (b"", "has no words; expected text"),
        (b" .,;\n\n!", "has no words; expected text"),
        (gzip.compress(b"hello " * 1000, mtime=0)[:-20], "cannot be read: .*; mend it"),
    ],
)
def test_text_that_is_none_is_one_line(tmp_path, content, said):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        open_source(f"text:{tmp_path / 'a.txt'}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text:nowhere.txt", "nowhere.txt does not exist; expected a file or a folder of text"),
        ("text:", "names no file"),
        ("text(split='bytes'):a", "split='bytes' is given, expected one of: words, spaces"),
        ("text(lower=True):a", "text has no setting 'lower'"),
        ("toy:text(size=3)", "toy:text has no setting 'size'"),
        ("toy:text(count=0)", "count of at least 1"),
    ],
)
def test_names_that_are_wrong(name, said):
    with pytest.raises(UserError, match=re.escape(said)):
        open_source(name)


def test_a_folder_without_text(tmp_path):
    (tmp_path / "a.pdf").touch()
    with pytest.raises(UserError, match=r"has no text, only \.pdf: 1; expected files that end in \.txt"):
        open_source(f"text:{tmp_path}")


def test_a_text_that_has_changed_is_read_again(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("one two")
    first = open_source(f"text:{path}")
    monkeypatch.setattr(corpus, "_write", None)  # not split again as long as it is the same
    assert open_source(f"text:{path}").fingerprint == first.fingerprint
    monkeypatch.undo()
    path.write_text("one two three")
    second = open_source(f"text:{path}")
    assert second.corpus.tokens == 3
    assert second.fingerprint != first.fingerprint
    monkeypatch.chdir(tmp_path)
    assert absolute_name("text:a.txt") == f"text:{path.resolve()}"
    assert open_source("text:a.txt").fingerprint == second.fingerprint


def test_passages_follow_each_other_from_any_step():
    source = open_source("toy:text(count=600)")
    ids = np.fromfile(source.corpus.ids, np.int32).reshape(-1, PASSAGE)
    assert source.count == len(ids) > 20
    taken = [batch["words"].numpy() for batch in batches.training(source, 0, 7, seed=3).take(8)]
    np.testing.assert_array_equal(np.concatenate(taken), ids[np.arange(56) % len(ids)])
    later = next(iter(batches.training(source, 0, 7, seed=3, start=5)))["words"]
    np.testing.assert_array_equal(later, taken[5])
    some = source.subset(np.array([4, 2, 9]), "some")
    np.testing.assert_array_equal(next(iter(batches.training(some, 0, 3, seed=0)))["words"], ids[[4, 2, 9]])


def test_vocabulary_is_counted_as_python_counts(tmp_path):
    lines = list(sentences.sentences(300, seed=4))
    (tmp_path / "a.txt").write_text("\n".join(line.capitalize() for line in lines))
    source = open_source(f"text:{tmp_path / 'a.txt'}")
    counts = Counter(word for line in lines for word in line.split())
    made = vocabulary.count(source.corpus, 9, lower=True)
    assert dict(zip(made.texts, made.counts.tolist(), strict=True)) == {w: n for w, n in counts.items() if n >= 9}
    assert made.counts.tolist() == sorted(made.counts.tolist(), reverse=True)
    cased = vocabulary.count(source.corpus, 1, lower=False)
    assert {"The", "the"} <= set(cased.texts)
    assert made.numbers([b"THE", b"nothing", made.words[3]]).tolist() == [made.words.index(b"the"), -1, 3]
    again = vocabulary.Vocabulary.from_arrays(made.as_arrays())
    assert (again.words, again.lower, again.split) == (made.words, True, "words")
    np.testing.assert_array_equal(again.counts, made.counts)


def test_toy_sentences_are_of_their_grammar():
    lines = list(sentences.sentences(50, seed=1, start=10))
    assert lines == list(sentences.sentences(60, seed=1))[10:]
    source = open_source("toy:text(count=50, seed=1, start=10)")
    assert [" ".join(line) for line in lines_of(source)] == lines
    assert set(source.word_classes) == set(sentences.WORD_CLASSES)
    shapes = [
        re.sub(r"\{(\w+)\}", lambda m: f"({'|'.join(sentences.WORD_CLASSES[m[1]])})", s) for s in sentences.SHAPES
    ]
    assert all(any(re.fullmatch(shape, line) for shape in shapes) for line in lines)
    words = [word for group in sentences.WORD_CLASSES.values() for word in group]
    assert len(words) == len(set(words)) == 80


def test_text_has_no_pictures(tmp_path):
    source = open_source("toy:text(count=5)")
    for read in (lambda: source.picture_reader(8, 0.5), lambda: source.encoded_pictures([0])):
        with pytest.raises(UserError, match="is text, and pictures or clips are expected"):
            read()


def test_text_of_tensorflow_datasets(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    class TextTestReviews(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = tmp_path  # or it is looked for in a package of this module's name

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict({"text": tfds.features.Text()})
            )

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield 0, {"text": "a good film\nindeed"}
            yield 1, {"text": "Bad."}

    monkeypatch.setattr(tfds, "builder", lambda name: TextTestReviews(data_dir=tmp_path))
    source = open_source("tfds:text_test_reviews")
    assert sorted(lines_of(source)) == [["Bad"], ["a", "good", "film"], ["indeed"]]
    assert source.corpus.lines == 3
