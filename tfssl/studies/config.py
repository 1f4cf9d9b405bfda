"""Settings of studies: `compare` and `sweep`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from tfssl.base.config import Count, Seed, Settings, Share, option, split, subject
from tfssl.runs.config import Pace, Training


def _check_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError("different numbers from 0 with commas between, as 0,1,2")
    return seeds


def _named(trunk: Any) -> Any:
    if not isinstance(trunk, str):
        raise ValueError("a trunk by its name, as 'resnet10(width=32)': every run begins with a new one")
    return trunk


def _sets(given: Any) -> Any:
    return (given,) if isinstance(given, str) else tuple(given)


class PassedOn(Pace, Training):
    """What a study passes on to each of its runs."""


class StudySettings(Settings):
    """What `compare` and `sweep` have in common, beside what they pass on to `pretrain`."""

    data: Any = subject("DATA")
    out: Path = option("Folder of the study. One that was stopped is resumed.")
    labelled: Any = option("What to evaluate on; DATA where not given.", None)
    test: Any = option("Labelled test data of its own.", None)
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(split), AfterValidator(_check_seeds)] = option(
        "Of the runs, as 0,1,2.", (0,)
    )
    trunk: Annotated[str, BeforeValidator(_named)] = option("The network.", "resnet10(width=32)")
    size: Count = option("Side of the crops in pixels.", 96)
    steps: Count = option("Of each run.", 2000)
    batch_size: Count = option("Source images in a step.", 64)
    limit: Count | None = option("Labelled training pictures of the probes, class-balanced; all.", None)
    test_limit: Count | None = option("Test pictures; all.", None)
    split_seed: Seed = option("Divides what has no test part.", 0)
    max_broken: Share = option("Largest part unreadable.", 0.01)
    verbose: Literal[0, 1, 2] = option("Of each run: 1 a progress bar, 2 a line an epoch, 0 nothing.", 1)


class CompareSettings(PassedOn, StudySettings):
    """All arguments of `compare`."""

    tasks: Annotated[tuple[Any, ...], BeforeValidator(_sets)] = option("A set of tasks; once for each row.")


class SweepSettings(PassedOn, StudySettings):
    """All arguments of `sweep`."""

    tasks: Any = option("Variants, as 'jigsaw(classes={4,16,64})'.")
    every: Count | None = option("Steps between probes of a run; at the end only.", None)
