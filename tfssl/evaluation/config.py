"""Settings of the commands that say how good a run is."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, InstanceOf

from tfssl.apply.config import Following
from tfssl.base.config import Commas, Count, GalleryFile, Seed, Settings, Share, ending, option, split
from tfssl.base.config import subject as argument  # a field has its name
from tfssl.base.specs import split_list
from tfssl.runs.evaluation import Evaluation


def _split(given: Any) -> Any:
    if isinstance(given, str):
        return split_list(given) if given.strip(" ,") else ()
    return given


Protocols = pydantic.BeforeValidator(_split)
"""For protocols with settings, which may also be one text with commas."""


def _subjects(given: Any) -> Any:
    if isinstance(given, str):  # a comma within parentheses parts nothing
        return [part.strip() for part in re.split(r",(?![^()]*\))", given) if part.strip()]
    return given if isinstance(given, (list, tuple)) else (given,)


Subjects = pydantic.BeforeValidator(_subjects)
"""For several of what `evaluate` measures, one alone, or one text with commas."""


class EvaluateSettings(Settings):
    """All arguments of `evaluate`."""

    subject: Any = argument("SUBJECT")
    data: Any = argument("DATA")
    test: Any = option("Test data, where DATA has no train/ and test/ (or val/).", None)
    protocols: Annotated[tuple[Any, ...] | None, Protocols] = option(
        "Some, as 'svm, rank, finetune, keypoints'; linear, linear_pooled, linear_pooled_2, knn by default.",
        None,
    )
    numbers: Count = option("Largest count of pooled features of a stage.", 9216)
    grid: Count | None = option("Pool every stage to GRID x GRID instead.", None)
    seed: Seed | None = option("Of random weights and pictures for their batch norm; a run's own if not given.", None)
    batch_size: Count = option("Pictures that go through the trunk at once.", 256)
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)
    random: bool | InstanceOf[Evaluation] = option("Measure random weights too, and any that a run began with.", True)
    epoch: Count | None = option("Measure the trunk as it was after this epoch.", None)
    projection: bool = option("Measure what comes behind the projection heads of a run, too.", False)
    report: bool = option("Write the run's report.html anew.", True)
    frames: Count = option("Of a clip, whose features are averaged.", 1)
    cache: bool = option("Keep features and what was trained on disk, for the next protocol: see tfssl cache.", True)
    split_seed: Seed = option("Divides DATA that has no test part, and holds out what choices are made on.", 0)
    long_tail: Annotated[float, Field(ge=1)] | None = option(
        "Thin training: the rarest class keeps so many times fewer pictures.", None
    )
    size: Count | None = option("Side of the pictures in pixels where SUBJECT does not say it; else 96.", None)
    beside: Annotated[tuple[Any, ...], Subjects] = option("Others to measure alike, with commas between them.", ())
    to: Path | None = option("JSON file to write the evaluation to; that of a run is in its folder anyway.", None)
    labels: Path | None = option("labels.csv: file, label; several labels with ; between them.", None)


class CacheSettings(Settings):
    """All arguments of `cache`."""

    clear: bool = option("Remove what is kept.", False)


class EvaluateSoundSettings(Settings):
    """All arguments of `evaluate_sound`."""

    run: Any = argument("RUN")
    data: Any = argument("DATA")
    folds: str | None = option(
        "Regular expression that finds a file's fold in its name, '^(.)' for ESC-10; else five.", None
    )
    groups: str | None = option(
        "Regular expression: files in whose names it finds the same text are in one fold.", None
    )
    protocols: Annotated[tuple[Any, ...] | None, Protocols] = option(
        "Some, as 'linear, knn(neighbours=5)'.", ("linear", "knn(neighbours=10)")
    )
    seed: Seed = option("Of folds that names do not tell.", 0)
    verbose: Literal[0, 1] = option("1 a progress bar, 0 nothing.", 1)


class EvaluateLocalisationSettings(Settings):
    """All arguments of `evaluate_localisation`."""

    run: Any = argument("RUN")
    data: str = argument("DATA", "toy:clips(count=200, seed=20180)")


class EvaluateTrackingSettings(Following):
    """All arguments of `evaluate_tracking`."""

    run: Any = argument("RUN")
    data: str = argument("DATA", "toy:clips(count=50, seed=20180)")


def _files(given: Any) -> Any:
    return [given] if isinstance(given, Path) else split(given)


class EvaluateWordsSettings(Settings):
    """All arguments of `evaluate_words`."""

    run: Any = argument("RUN")
    data: Any = argument("DATA", None)
    analogies: Path | None = option("File of the questions-words format.", None)
    similarity: Annotated[tuple[Path, ...], pydantic.BeforeValidator(_files)] = option(
        "Files of pairs of words with people's scores, commas between.", ()
    )
    neighbours: Annotated[tuple[str, ...], Commas] = option("Words whose nearest words to list, commas between.", ())
    nearest: Count = option("How many of these.", 5)
    seed: Seed = option("Of windows and noise on DATA.", 20161)
    verbose: Literal[0, 1] = option("1 a progress bar, 0 nothing.", 1)


class PretextSettings(Settings):
    """All arguments of `pretext`."""

    run: Any = argument("RUN")
    data: Any = argument("DATA")
    draws: Count = option("Puzzles of each picture or clip, about.", 4)
    batch_size: Count = option("Pictures or clips at once.", 64)
    seed: Seed = option("Of the puzzles.", 20161)
    max_broken: Share = option("Largest part unreadable.", 0.01)


class RetrieveSettings(Settings):
    """All arguments of `retrieve`."""

    run: Any = argument("RUN")
    data: Any = argument("DATA")


def _several(given: Any) -> Any:
    return [given] if isinstance(given, (str, Path)) else given


def _boxes(given: Any) -> Any:
    if isinstance(given, str) or (isinstance(given, (list, tuple)) and given and isinstance(given[0], int)):
        given = [given]
    return [",".join(map(str, each)) if isinstance(each, (list, tuple)) else each for each in given]


class NeighboursSettings(Settings):
    """All arguments of `neighbours`."""

    subject: Any = argument("SUBJECT")
    data: Any = argument("DATA")
    to: GalleryFile = option("FILE.html for a page, or a picture file: png, svg, pdf or jpg.")
    query: Annotated[tuple[Path, ...], pydantic.BeforeValidator(_several)] = option(
        "A picture, or a folder of them, to find the like of; once for each. Else some of DATA.", (), each=True
    )
    count: Count = option("Neighbours of each.", 5)
    queries: Count = option("How many of DATA are asked for where no --query is given.", 6)
    beside: Annotated[tuple[Any, ...], Subjects] = option("Other networks to ask, with commas between them.", ())
    random: bool = option("Ask random weights too, and any that a run began with.", True)
    patches: bool = option("Of patches: a patch finds patches of other pictures.", False)
    box: Annotated[tuple[str, ...], pydantic.BeforeValidator(_boxes)] = option(
        "The patch of a --query, in pixels; once for each.", (), metavar="TOP,LEFT,HEIGHT,WIDTH", each=True
    )
    frames: Count = option("Of a clip, spread evenly over it, to choose from.", 5)
    duplicates: bool = option("Take near-duplicates and what is of the same recording or picture, too.", False)
    stage: str | None = option("Stage; the last where not given, best for what evaluate found of a run.", None)
    size: Count | None = option("Side of the pictures in pixels where SUBJECT does not say it; else 96.", None)
    limit: Count | None = option("Largest count of pictures or clips to look through; all where not given.", None)
    batch_size: Count = option("Pictures that go through a network at once.", 256)
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)
    seed: Seed = option("Of which pictures and patches are asked for; of random weights, but a run's.", 0)
    report: bool = option("Put it into the run's report.html, too.", False)


class LookSettings(Settings):
    """All arguments of `look`."""

    data: Any = argument("DATA")
    subject: Any = option(
        "What to see them through: a run, an export, a .keras file, a trunk's name.", flag="--with", metavar="SUBJECT"
    )
    to: Path = option("Folder to write: index.html and tables.")
    select: Count | None = option("Choose so many pictures to be labelled first.", None)
    labels: Path | None = option("labels.csv of what is labelled so far: file, label.", None)
    test: Any = option("Other pictures, which should not be among DATA.", None)
    layout: Literal["umap", "pca"] = option("How the map is made; umap needs the extra 'look'.", "umap")
    mapped: Count = option("Largest count of pictures on the map.", 2500)
    stage: str | None = option("Stage; the last where not given, best for what evaluate found of a run.", None)
    size: Count | None = option("Side of the pictures in pixels where SUBJECT does not say it; else 96.", None)
    limit: Count = option("Largest count of pictures to look at; others are left out by the seed.", 50_000)
    batch_size: Count = option("Pictures that go through the network at once.", 256)
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)
    seed: Seed = option("Of what is drawn, the map and k-means; of random weights, but a run's.", 0)


def _some(given: Any) -> Any:
    return tuple(given) if isinstance(given, (list, tuple)) else (given,)


class InsideSettings(Settings):
    """All arguments of `inside`."""

    subject: Any = argument("SUBJECT")
    pictures: Annotated[tuple[Any, ...], pydantic.BeforeValidator(_some)] = argument("PICTURES...")
    to: Annotated[Path, ending(".html", ".htm")] = option("The page.")
    stage: Annotated[tuple[str, ...], Commas] = option(
        "Stage, or some with commas between them; best for what evaluate found of a run; all where not given.", ()
    )
    count: Count = option("Largest number of pictures; drawn by the seed where there are more.", 8)
    size: Count | None = option("Side of the pictures in pixels where SUBJECT does not say it; else 96.", None)
    seed: Seed = option("Of the pictures; of random weights, but a run's.", 0)
