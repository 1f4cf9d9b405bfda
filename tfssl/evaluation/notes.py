"""What an evaluation says about its data and its subjects, in sentences."""

from collections.abc import Iterator, Sequence

from tfssl.base.words import counted
from tfssl.evaluation.data import Data
from tfssl.evaluation.dense_tuning import DenseTuning
from tfssl.evaluation.measuring import probes_for
from tfssl.evaluation.probes import Measured, Probes
from tfssl.evaluation.protocols.base import Measurement, Protocol
from tfssl.evaluation.tuning import Tuning
from tfssl.frozen.subjects import Subject
from tfssl.models.trunks.networks import scaling_advice
from tfssl.runs import seen


def all_of(
    first: Subject,
    others: Sequence[Subject],
    probes: Probes,
    parts: Data,
    measured: Measured,
    divided: str,
    broken: int,
    known: int | None,
    trained: tuple[Tuning, DenseTuning],
) -> Iterator[str]:
    """Yield all sentences.

    Args:
        first: what was measured.
        others: what was measured beside it.
        probes: as they were asked for.
        parts: the data.
        measured: of the first.
        divided: where the parts of the data come from.
        broken: how many pictures could not be decoded.
        known: how many of the test pictures a run was pretrained on; None where that is not known.
        trained: what was trained, to tell classes and of places in the picture.
    """
    tuning, dense = trained
    if divided:
        yield f"Data: {divided}."
    if probes.protocols:
        yield of_choices(measured, parts)
        possible = [each for each in probes_for(first, probes).protocols if isinstance(each, Protocol)]
        if left_out := [str(each) for each in possible if str(each) not in measured.scores]:
            yield f"Left out, as training has too few pictures or stages too few places: {', '.join(left_out)}."
    for lack in tuning.lacks:
        yield f"Left out, as {lack}."
    yield from of_training(first, parts, tuning)
    if broken:
        yield f"{counted(broken, 'picture')} could not be decoded, and took no part."
    if parts.train.fingerprint == parts.test.fingerprint:
        yield "The test data is the training data: these figures say nothing about new pictures."
    if first.run is not None:
        yield seen.sentence(known, len(measured.answers), parts.test.items)
    for each in (first, *others):
        yield from of_subject(each, probes, (*tuning.protocols, *dense.protocols))
    sizes = {each.name: each.size for each in (first, *others)}
    if len(set(sizes.values())) > 1:
        yield f"Pixels of a side: {', '.join(f'{name} {size}' for name, size in sizes.items())}."
    for each in others:
        if each.run is not None:
            count = seen.count(each.run, parts.test, measured.test_rows)
            yield f"{each.name}: {seen.sentence(count, len(measured.answers), parts.test.items)}"


def of_subject(subject: Subject, probes: Probes | None, trained: Sequence[Measurement]) -> Iterator[str]:
    """Say what a subject cannot be asked of probes and of protocols that train it, and what is not known of it."""
    if subject.kind == "export":
        left_out = []
        if probes is not None:
            left_out = [str(each) for each in probes.protocols if each not in probes_for(subject, probes).protocols]
        skipped = f"; left out, as there is no grid to read: {', '.join(left_out)}" if left_out else ""
        if trained:
            skipped += f"; left out, as it cannot be trained: {', '.join(map(str, trained))}"
        yield f"{subject.name} is an export: one embedding, and no random weights to compare it with{skipped}."
    elif subject.is_random:
        yield f"{subject.name} has random weights (seed {subject.seed})."
    elif subject.run is None:
        trunk = subject.trained if subject.kind == "file" else None
        if trunk is not None and (advice := scaling_advice(subject.name, trunk.body)):
            yield f"{advice}."
        yield f"What {subject.name} has learned from is not known here, nor whether the test pictures were among it."


def of_training(subject: Subject, parts: Data, tuning: Tuning) -> Iterator[str]:
    """Say what networks learned from, and what was chosen of the candidates of each."""
    for (name, random, protocol), facts in tuning.facts.items():
        if name != subject.name:
            continue
        draws = f", in each of {len(facts['labels'])} draws" if len(facts["labels"]) > 1 else ""
        where = "of them" if parts.val is None else f"of {parts.val.name}"
        yield (
            f"{protocol}{' from random weights' if random else ''} learned from"
            f" {counted(facts['labels'][0], 'picture')}{draws};"
            f" chosen on {facts['chosen_on'][0]:,} {where}: {'; '.join(dict.fromkeys(facts['chosen']))}."
        )


def of_choices(measured: Measured, parts: Data) -> str:
    """Say on which pictures choices were made."""
    if not measured.held_out:
        return (
            "No class has two pictures to learn from, so that none could be held out: the best stage is chosen on the"
            " test pictures themselves, and its figure is too good."
        )
    if parts.val is not None:
        return f"All choices were made on {measured.held_out:,} pictures of {parts.val.name}."
    if measured.held_out > measured.train_images / 2:
        return (
            f"All choices were made on the {measured.train_images:,} training pictures: each fifth of them (within each"
            f" class, split seed {parts.seed}) was held out in turn; then all were learned from."
        )
    return (
        f"All choices were made on {measured.held_out:,} training pictures held out (20 % within each class, split"
        f" seed {parts.seed}); then all {measured.train_images:,} were learned from."
    )
