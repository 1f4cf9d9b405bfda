"""A run on text: what lies in its folder, what it resumes from, and what it refuses."""

import json

import numpy as np
import pytest

import tfssl
from tests.conftest import TOY_TEXT, WORD_SETTINGS, WORD_TASK
from tfssl.report.page import training_sentences
from tfssl.training import callbacks


def tables(run):
    second = next(layer for layer in run.solver("word2vec").layers if layer.name == "word2vec_second_table")
    return run.word_table().layer.get_weights()[0], second.get_weights()[0]


def test_what_lies_in_its_folder(word_run):
    content = json.loads((word_run.folder / "run.json").read_text())
    assert content["settings"] == {
        "tasks": "word2vec(model='skipgram', size=16)",
        "epochs": 8,
        "steps_per_epoch": 5,
        "batch_size": 32,
        "seed": 0,
        "keep_every": 4,
        "deterministic": False,
        "stages": ["words"],
    }
    assert (content["data"]["items"], content["data"]["count"]) == ("passages", 191)
    assert content["prepared"]["words"] == {"count": 93, "dimensions": 16}
    assert len(json.dumps(content)) < 3000  # the vocabulary lies beside it
    assert list(word_run.result) == ["run", "epochs", "steps", "words_per_second", "metrics", "broken_files"]
    assert word_run.result["metrics"]["loss"] < 3.4 < 6 * np.log(2)
    assert "on 93 words, 40 steps" in str(word_run)
    lines = [json.loads(line) for line in (word_run.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["learning_rate"] == pytest.approx(0.025 - (0.025 - 0.0001) * 3 / 40)
    assert "words_per_second" in lines[0]
    (sentence,) = training_sentences(word_run, lines)
    assert sentence.startswith("A table of 93 words learned word2vec(model='skipgram', size=16) from toy:text")
    vocabulary = word_run.tasks()[0].vocabulary
    assert vocabulary.words[0] == b"the"


def test_a_run_that_was_stopped_ends_as_one_that_was_not(word_run, tmp_path, monkeypatch):
    """Bit by bit, in the middle of an epoch, at a step that no checkpoint was due at."""
    end = callbacks.StopWhenNotFinite.on_train_batch_end

    def stop(self, batch, logs=None):
        end(self, batch, logs)
        if self._steps.done == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.StopWhenNotFinite, "on_train_batch_end", stop)
    with pytest.raises(KeyboardInterrupt):
        tfssl.pretrain(TOY_TEXT, WORD_TASK, out=tmp_path / "stopped", **WORD_SETTINGS)
    monkeypatch.undo()
    stopped = tfssl.pretrain(TOY_TEXT, WORD_TASK, out=tmp_path / "stopped", **WORD_SETTINGS)
    for one, other in zip(tables(word_run), tables(stopped), strict=True):
        np.testing.assert_array_equal(one, other)
    kept = [json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1]) for run in (word_run, stopped)]
    assert kept[0]["loss"] == kept[1]["loss"]


def test_the_table_before_training_is_kept(word_run):
    first = word_run.word_table(random=True).layer.get_weights()[0]
    assert first.shape == (93, 16)
    assert 0.9 / 16 < np.abs(first).max() <= 1 / 16
    assert np.abs(word_run.word_table().layer.get_weights()[0]).max() > 0.5


def test_tables_of_epochs_are_kept(word_run):
    assert word_run.epochs() == [4, 8]
    middle, end = (word_run.word_table(epoch=epoch).layer.get_weights()[0] for epoch in (4, 8))
    np.testing.assert_array_equal(end, word_run.word_table().layer.get_weights()[0])
    assert np.abs(end - middle).max() > 0.1
    with pytest.raises(tfssl.UserError, match="epoch 3 is asked for"):
        word_run.word_table(epoch=3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"learning_rate": 0.2},
            "learning_rate=0.2 is given, and word2vec has a table of words and settings of its own",
        ),
        ({"trunk": "resnet10"}, "trunk='resnet10' is given"),
        ({"batch_size": 500}, "--batch-size 500 is given, but toy:text.* has 191 passages"),
    ],
)
def test_settings_of_networks_are_refused(tmp_path, settings, said):
    with pytest.raises(tfssl.UserError, match=said):
        tfssl.pretrain(TOY_TEXT, "word2vec", out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: run.trunk(), "is on text and has no trunk; give it to evaluate-words"),
        (lambda run: tfssl.evaluate(run, "toy:images(count=20, size=32)"), "is on text and has no trunk"),
        (lambda run: tfssl.pretext(run, TOY_TEXT), "is on text; give it to evaluate-words"),
        (lambda run: tfssl.audit(TOY_TEXT, "word2vec"), "is text, and an audit looks at pictures and clips"),
        (lambda run: tfssl.bench_pipeline(TOY_TEXT), "is text, whose words a second"),
        (lambda run: tfssl.embed(run, TOY_TEXT, "a.npz"), "is on text and has no trunk"),
        (lambda run: tfssl.neighbours(run, "toy:images(count=20, size=32)", "a.png"), "is on text and has no trunk"),
    ],
)
def test_what_looks_at_pictures_says_that_there_are_none(word_run, call, said):
    with pytest.raises(tfssl.UserError, match=said):
        call(word_run)


def test_a_run_on_pictures_has_no_words(toy_run):
    assert toy_run.words is None
    with pytest.raises(tfssl.UserError, match="is none on text"):
        toy_run.word_table()
