"""Word2vec beside gensim in one process, at a vocabulary of 100,000 words; and its memory, whatever the text's length.

Slow, as speeds of less than some seconds say little: `make test-slow`. With `-s` it prints them.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tfssl

pytestmark = pytest.mark.slow

WORDS, TOKENS, LINE = 100_000, 2_000_000, 25
LEAST = {"skipgram": 0.5, "cbow": 0.3}
"""Shares of gensim's raw words a second that are reached."""


def write_text(path: Path, tokens: int, times: int = 1) -> None:
    """Words by Zipf's law, each at least once, and the same again `times` times."""
    draw = np.random.default_rng(0)
    chances = 1 / np.arange(1, WORDS + 1)
    numbers = draw.choice(WORDS, tokens, p=chances / chances.sum())
    numbers[:WORDS] = draw.permutation(WORDS)
    words = np.array([f"w{number}" for number in range(WORDS)])
    lines = [" ".join(words[numbers[start : start + LINE]]) + "\n" for start in range(0, tokens, LINE)]
    with path.open("w") as file:
        for _ in range(times):
            file.writelines(lines)


@pytest.mark.parametrize("model", LEAST)
def test_raw_words_a_second(model, tmp_path):
    """Both on two cores, size 100, window 5, 5 negatives, sub-sampling at 1e-3.

    One after the other, and again up to five times where others use the cores meanwhile: the fastest of each counts.
    """
    word2vec = pytest.importorskip("gensim.models.word2vec")
    path = tmp_path / "text.txt"
    write_text(path, TOKENS)
    theirs, ours = [], []
    settings = {"vector_size": 100, "window": 5, "negative": 5, "min_count": 1, "workers": 2, "sg": model == "skipgram"}
    share = 0.0
    for turn in range(5):
        if share >= LEAST[model]:
            break
        network = word2vec.Word2Vec(**settings)
        network.build_vocab(word2vec.LineSentence(str(path)))
        began = time.perf_counter()
        network.train(word2vec.LineSentence(str(path)), total_examples=network.corpus_count, epochs=1)
        theirs.append(TOKENS / (time.perf_counter() - began))
        task = f"word2vec(model='{model}', min_count=1)"
        run = tfssl.pretrain(f"text:{path}", task, epochs=1, out=tmp_path / f"run{turn}", report=False, verbose=0)
        ours.append(run.result["words_per_second"])
        share = max(ours) / max(theirs)
    print(f"\n{model}: gensim {max(theirs):,.0f} raw words/s, here {max(ours):,.0f}: {share:.2f}")
    assert share >= LEAST[model]


PEAK = """
import re, sys
from pathlib import Path
import tfssl
from tfssl.pipelines.sources.any_source import open_source

if sys.argv[2]:
    tfssl.pretrain(f"text:{sys.argv[1]}", "word2vec(min_count=1)", epochs=1, steps_per_epoch=60, out=sys.argv[2],
                   report=False, verbose=0)
else:
    open_source(f"text:{sys.argv[1]}")
# Not ru_maxrss, in which Linux counts the memory that the tests had when they started this process.
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux")
def test_memory_does_not_grow_with_the_text(tmp_path):
    """Of a text of 15 MB and of one of 120 MB with the same words: numbers of the second alone would take 100 MB.

    It is split in one process, and learned from in another.
    """
    peaks: dict[str, list[int]] = {"split": [], "learn": []}
    for times in (1, 8):
        path = tmp_path / f"{times}.txt"
        write_text(path, 3_000_000, times)
        for what, run in (("split", ""), ("learn", str(tmp_path / f"run{times}"))):
            command = [sys.executable, "-c", PEAK, str(path), run]
            root = str(Path(tfssl.__file__).parents[1])
            done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root)
            peaks[what].append(int(done.stdout.splitlines()[-1]))
    print(f"\npeak memory, MiB, of 15 MB and of 120 MB of text: {peaks}")
    assert all(large < small + 50 for small, large in peaks.values())
