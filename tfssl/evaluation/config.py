"""Settings of the commands that say how good a run is."""

from typing import Annotated, Any, Literal

from pydantic import InstanceOf

from tfssl.apply.config import Following
from tfssl.base.config import Commas, Count, PictureFile, Positive, Seed, Settings, Share, option, subject
from tfssl.runs.evaluation import Evaluation


class EvaluateSettings(Settings):
    """All arguments of `evaluate`."""

    run: Any = subject("RUN")
    data: Any = subject("DATA")
    test: Any = option("Test data, where DATA has no train/ and test/ (or val/).", None)
    protocols: Annotated[tuple[str, ...] | None, Commas] = option("Some, as linear,knn; all where not given.", None)
    numbers: Count = option("Largest count of pooled features of a stage.", 9216)
    grid: Count | None = option("Pool every stage to GRID x GRID instead.", None)
    seed: Seed | None = option("Of the probe's batches; the run's own where not given.", None)
    batch_size: Count = option("Pictures that go through the trunk at once.", 256)
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)
    neighbours: Count = option("k of k-NN.", 20)
    epochs: Count = option("Of the linear probe.", 28)
    learning_rate: Positive = option("The linear probe's learning rate at the start.", 0.01)
    random: bool | InstanceOf[Evaluation] = option("Measure random weights too.", True)
    epoch: Count | None = option("Measure the trunk as it was after this epoch.", None)
    report: bool = option("Write the run's report.html anew.", True)
    frames: Count = option("Of a clip, whose features are averaged.", 1)
    split_seed: Seed = option("Divides DATA that has no test part.", 0)


class EvaluateSoundSettings(Settings):
    """All arguments of `evaluate_sound`."""

    run: Any = subject("RUN")
    data: Any = subject("DATA")
    folds: str | None = option(
        "Regular expression that finds a file's fold in its name, '^(.)' for ESC-10; else five.", None
    )
    groups: str | None = option(
        "Regular expression: files in whose names it finds the same text are in one fold.", None
    )
    neighbours: Count = option("k of k-NN.", 10)
    seed: Seed = option("Of folds that names do not tell.", 0)
    verbose: Literal[0, 1] = option("1 a progress bar, 0 nothing.", 1)


class EvaluateLocalisationSettings(Settings):
    """All arguments of `evaluate_localisation`."""

    run: Any = subject("RUN")
    data: str = subject("DATA", "toy:clips(count=200, seed=20180)")


class EvaluateTrackingSettings(Following):
    """All arguments of `evaluate_tracking`."""

    run: Any = subject("RUN")
    data: str = subject("DATA", "toy:clips(count=50, seed=20180)")


class PretextSettings(Settings):
    """All arguments of `pretext`."""

    run: Any = subject("RUN")
    data: Any = subject("DATA")
    draws: Count = option("Puzzles of each picture or clip, about.", 4)
    batch_size: Count = option("Pictures or clips at once.", 64)
    seed: Seed = option("Of the puzzles.", 20161)
    max_broken: Share = option("Largest part unreadable.", 0.01)


class RetrieveSettings(Settings):
    """All arguments of `retrieve`."""

    run: Any = subject("RUN")
    data: Any = subject("DATA")


class NeighboursSettings(Settings):
    """All arguments of `neighbours`."""

    run: Any = subject("RUN")
    data: Any = subject("DATA")
    to: PictureFile = option("Picture file: png, svg, pdf or jpg.")
    count: Count = option("Frames or pictures to find the like of.", 6)
    nearest: Count = option("Answers for each.", 5)
    frames: Count = option("Of a clip, spread evenly over it, to choose from.", 5)
    limit: Count = option("Largest count of clips or pictures to look through.", 2000)
    stage: str | None = option("Stage of the run; the last where not given.", None)
    seed: Seed = option("Other seeds ask for others.", 0)
