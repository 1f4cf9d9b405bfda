"""Does the time stamp tell the answer? Clips are marked, so that puzzles say which moments they are made of.

Marks of sound are known by their samples: where sound that fits lies around times of frames and sound that does not
lies anywhere, a network need not listen (Arandjelovic and Zisserman 2018, arXiv 1712.06651, section 3.4: 87.6 % of the
answers instead of 81.9 %). So neither the sound's place in its clip, nor its place between frames, nor the silence at
its ends may tell.

Marks of sequences are frames of one grey each. Their order must tell the answer, each order one answer. The time of a
single frame may tell something, as the middle of three is seldom the first of a clip: that is said, without a verdict.
"""

from collections.abc import Iterable

import numpy as np

from tfssl.auditing import marked_clips, statistics
from tfssl.auditing.marked_clips import MarkedSound
from tfssl.auditing.prediction import margin, score
from tfssl.auditing.results import CONTENT, FAULT, LEAK, NONE, OK, WEAK, Probe
from tfssl.auditing.samples import Batch, Made, Maker, Stream
from tfssl.pipelines.clips import clip_records
from tfssl.tasks.parts.classification import ChoiceTask

STAMP, ORDER = "time stamp of the sound", "order of frames is the answer"
BINS = 8
MOST_FRAMES = 256
"""That greys can tell apart."""
FOUND = 0.95


def probes(maker: Maker, drawn: Iterable[Batch], sample_rate: int) -> list[Probe]:
    """Make the probes of a task on clips; `sample_rate` of the sound in hertz."""
    return [*sound(maker, drawn, sample_rate), *frames(maker, drawn)]


def sound(maker: Maker, drawn: Iterable[Batch], sample_rate: int) -> list[Probe]:
    """Probe whether the answer is predictable from when the sound is; return nothing without sound or choices."""
    task = maker.task
    if "sound" not in task.reads or not isinstance(task, ChoiceTask):
        return []
    stamps, answers, lost = [], [], 0
    for step, tensors in enumerate(drawn):
        batch = {key: np.asarray(value) for key, value in tensors.items()}
        marked = MarkedSound(batch["clip"], step)
        batch["clip"] = marked.records
        questions = Made(task, batch, *maker.graph(batch, step)).questions
        assert questions.sound is not None
        if not len(questions.right):  # no clip of the batch has sound
            answers.append(questions.right)
            continue
        row, first, matches = marked.places_of(questions.sound)
        stamps.append(stamps_of(batch["clip"], row, first, questions.sound, sample_rate)[matches])
        answers.append(questions.right[matches])
        lost += int((~matches).sum())
    right, groups = statistics.join(answers)
    if len(right) < FOUND * (len(right) + lost) or len(np.unique(right)) < 2:
        note = f"sound was found in its clip for {len(right)} of {len(right) + lost} puzzles, too few to ask"
        return [Probe(task=str(task), name=STAMP, verdict=NONE, note=note)]
    share, bounds, surely = score(np.concatenate(stamps), right, groups)
    chance = 1 / len(np.unique(right))
    verdict = LEAK if bounds[0] > chance + margin(task.choices) else WEAK if surely > chance + 1e-9 else OK
    note = "when the sound begins and ends, in its clip and between frames; nothing else is looked at"
    return [Probe(task=str(task), name=STAMP, verdict=verdict, found=share, bounds=bounds, chance=chance, note=note)]


def stamps_of(
    marked: np.ndarray, row: np.ndarray, first: np.ndarray, heard: np.ndarray, sample_rate: int
) -> np.ndarray:
    """Return what a time stamp could tell of sounds, float [Q, numbers].

    Of the beginning, the middle and the end: how far from the nearest frame, in distances of frames, and in which of 8
    parts of that. Where in the clip's sound, as a part of its length and in which eighth; the number of the first
    sample modulo 2, 4 and 8; seconds of silence at both ends.

    Args:
      marked: records, bytes [B].
      row: int [Q], the clip of each sound.
      first: int [Q], its first sample, counted from the beginning of the clip's sound.
      heard: float32 [Q, samples].
      sample_rate: hertz.
    """
    given = clip_records.parse(marked)
    splits, all_times = given.splits.numpy(), given.times.numpy()
    starts = given.sound_start.numpy()
    lengths = np.array([len(each) // 2 for each in given.sound.numpy()])
    samples = heard.shape[1]
    begin = starts[row] + first / sample_rate
    columns = []
    for moment in (begin, begin + samples / sample_rate / 2, begin + samples / sample_rate):
        offset = np.zeros(len(row))
        for number in np.unique(row):
            times = all_times[splits[number] : splits[number + 1]]
            mine = row == number
            if len(times) > 1:
                away = moment[mine, None] - times
                nearest = np.abs(away).argmin(1)
                offset[mine] = away[np.arange(len(away)), nearest] / np.diff(times).mean()
        columns += [offset[:, None], np.abs(offset)[:, None], _eighths(np.clip(offset + 0.5, 0, 1))]
    place = first / np.maximum(lengths[row] - samples, 1)
    columns += [place[:, None], np.abs(place - 0.5)[:, None], _eighths(np.clip(place, 0, 1))]
    columns += [np.eye(period)[first % period] for period in (2, 4, 8)]
    sounds = heard != 0
    silent = [each.argmax(1) / sample_rate for each in (sounds, sounds[:, ::-1])]
    return np.concatenate([*columns, np.stack(silent, 1)], 1)


def _eighths(share: np.ndarray) -> np.ndarray:
    return np.eye(BINS)[np.minimum((share * BINS).astype(int), BINS - 1)]


def frames(maker: Maker, drawn: Iterable[Batch]) -> list[Probe]:
    """Probe whether the answer is that of the order, and what the time of one frame tells.

    Return nothing for puzzles of one frame.
    """
    task = maker.task
    if not isinstance(task, ChoiceTask) or "sound" in task.reads:
        return []
    most = max(marked_clips.frame_count(np.asarray(batch["clip"])) for batch in drawn)
    if most > MOST_FRAMES:
        note = f"clips have up to {most} frames, more than the {MOST_FRAMES} that can be told apart by their grey"
        return [Probe(task=str(task), name=ORDER, verdict=NONE, note=note)]
    numbers, answers = [], []
    for made in Stream(maker, drawn, lambda given: marked_clips.numbered(given, most)):
        questions = made.questions
        frame_numbers, sure = marked_clips.numbers_of(questions.parts, most)
        kept = sure.all(1)
        numbers.append(frame_numbers[kept])
        answers.append(questions.right[kept])
    shown = np.concatenate(numbers)
    right, groups = statistics.join(answers)
    if not len(right) or shown.shape[1] < 2:
        return [Probe(task=str(task), name=ORDER, verdict=NONE, note="no puzzle shows which frames it has")]
    orders = np.unique(shown.argsort(1).argsort(1), axis=0, return_inverse=True)[1].reshape(-1)
    counts = np.zeros((orders.max() + 1, right.max() + 1), int)
    np.add.at(counts, (orders, right), 1)
    share = float(counts.max(1).sum() / counts.sum())
    made_of = [
        Probe(
            task=str(task),
            name=ORDER,
            verdict=OK if share == 1 else FAULT,
            found=share,
            chance=float(counts.sum(0).max() / counts.sum()),
            note="share of puzzles with the answer that most puzzles in the same order have",
        )
    ]
    for place in range(shown.shape[1]):
        part = shown[:, place] / max(most - 1, 1)
        values = np.concatenate([part[:, None], np.abs(part - 0.5)[:, None], _eighths(part)], 1)
        share, bounds, _ = score(values, right, groups)
        chance = 1 / len(np.unique(right))
        name = f"time of frame {place + 1} of {shown.shape[1]} alone"
        verdict = CONTENT if bounds[0] > chance + 1e-9 else OK
        made_of.append(Probe(task=str(task), name=name, verdict=verdict, found=share, bounds=bounds, chance=chance))
    return made_of
