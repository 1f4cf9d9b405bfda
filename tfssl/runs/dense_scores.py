"""What an evaluation found of places in the picture: the figures of one dense target, in its own unit."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.base.result import plain
from tfssl.base.tables import aligned
from tfssl.base.words import counted
from tfssl.runs.beside import Difference

FROZEN, TUNED = "frozen head", "fine-tuned"
"""Two ways to learn: the head alone on the frozen trunk, and all of the network."""
BESIDE = {FROZEN: "random features", TUNED: "from scratch"}
"""What stands beside each: the same from random weights."""


@dataclasses.dataclass(frozen=True)
class DenseScore:
    """What one network is measured at, in the unit of the target's headline.

    Attributes:
      score: the headline figure on the test part; the mean where pictures to learn from were drawn several times.
      low, high: its 95 % interval, over test pictures, or over draws where there were several.
      held_out: the same of the pictures that it was chosen on.
      figures: all figures of the test part by name, of the first draw.
      chosen: of the candidates, in words, one a draw.
      draws: the score of each draw, where there were several; None else.
      ahead: how much better the subject does than this one, with the paired 95 % interval; None of the subject itself.
    """

    score: float
    low: float
    high: float
    held_out: float
    figures: Mapping[str, float]
    chosen: tuple[str, ...]
    draws: tuple[float, ...] | None = None
    ahead: Difference | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what `plain` made of it."""
        ahead, draws = content["ahead"], content["draws"]
        return cls(
            **{
                **content,
                "chosen": tuple(content["chosen"]),
                "draws": None if draws is None else tuple(draws),
                "ahead": None if ahead is None else Difference(**ahead),
            }
        )


Ways = Mapping[str, DenseScore]
"""`FROZEN` or `TUNED` -> score."""


@dataclasses.dataclass(frozen=True)
class DenseMeasured:
    """One protocol of places in the picture.

    Attributes:
      title: as people read it.
      target: what was learned, as of `finetune --target`.
      headline, unit, lower: the figure that is compared, its unit ("%" of a share 0 .. 1), whether less is better.
      names: of classes or joints, () where there are none.
      subject, data: what was measured, and on what, by name.
      train, held_out, test: pictures to learn from (all draws have as many), to choose on, and to measure on.
      trained: what came of the subject.
      random: what came of the same from random weights; {} where these were not asked for.
      beside: the same of other subjects, by name.
      notes: what else is to be said of it, in sentences.
      details: what else was set or counted.
    """

    title: str
    target: str
    headline: str
    unit: str
    lower: bool
    names: tuple[str, ...]
    subject: str
    data: str
    train: int
    held_out: int
    test: int
    trained: Ways
    random: Ways = dataclasses.field(default_factory=dict)
    beside: Mapping[str, Ways] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return all of it; shares are 0 .. 1."""
        return {each.name: plain(getattr(self, each.name)) for each in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Invert `as_json`."""

        def ways(part: Mapping[str, Any]) -> dict[str, DenseScore]:
            return {way: DenseScore.from_json(score) for way, score in part.items()}

        return cls(
            **{
                **content,
                "names": tuple(content["names"]),
                "notes": tuple(content["notes"]),
                "trained": ways(content["trained"]),
                "random": ways(content["random"]),
                "beside": {name: ways(part) for name, part in content["beside"].items()},
            }
        )

    @property
    def factor(self) -> float:
        """What figures are multiplied by to be shown: shares are in percent."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def figure(self) -> str:
        """The headline with its unit, as of an axis: "mean angle, degrees (less is better)"."""
        return f"{self.headline}, {self.unit}{' (less is better)' if self.lower else ''}"

    def says(self, value: float, name: str = "") -> str:
        """Say a figure with its unit; the headline where no name is given. Shares among others are in percent."""
        if self.unit == "%" or name.startswith("within"):
            return f"{100 * value:.1f} %"
        return f"{value:.1f} {self.unit}"

    def interval(self, score: DenseScore) -> str:
        """Say the 95 % interval of a score, without the unit."""
        return f"{self.factor * score.low:.1f} to {self.factor * score.high:.1f}"

    def ahead(self, found: Difference) -> str:
        """Say how much better something is: "3.1 degrees ahead (2.0 to 4.2)"."""
        return found.said("points" if self.unit == "%" else self.unit, self.factor)

    @property
    def networks(self) -> Iterator[tuple[str, str, DenseScore]]:
        """All that was measured, as (whose it is, how it learned, its score): each way of the subject, then others."""
        for way, score in self.trained.items():
            yield self.subject, way, score
            if way in self.random:
                yield "random weights", BESIDE[way], self.random[way]
            for name, ways in self.beside.items():
                if way in ways:
                    yield name, way, ways[way]

    def rows(self) -> list[tuple[str, ...]]:
        """Return the cells of a table, one row a network, its head is `HEAD`."""
        return [
            (
                self.title,
                name,
                how,
                f"{self.headline} {self.says(score.score)}",
                self.interval(score),
                self.says(score.held_out),
                "" if score.ahead is None else self.ahead(score.ahead),
            )
            for name, how, score in self.networks
        ]

    def sentences(self) -> list[str]:
        """Say in words what came of each way, beside the same from random weights and others."""
        said = []
        for way, score in self.trained.items():
            over = " over draws" if score.draws else ""
            how = "all of the network trained" if way == TUNED else "the head alone on frozen features"
            line = (
                f"{self.title[0].upper()}{self.title[1:]}, {how}: {self.headline} {self.says(score.score)} (95 %"
                f" interval{over} {self.interval(score)}) on {counted(self.test, 'test picture')}"
            )
            if (rival := self.random.get(way)) is not None and rival.ahead is not None:
                what = "from random weights" if way == TUNED else "on random features"
                line += f", {what} {self.says(rival.score)}: pretraining puts it {self.ahead(rival.ahead)}"
            for name, ways in self.beside.items():
                if way in ways and (ahead := ways[way].ahead) is not None:
                    line += f"; {name} {self.says(ways[way].score)}: {self.subject} is {self.ahead(ahead)}"
            said.append(f"{line}.")
        return said


HEAD = ("protocol", "network", "how it learned", "figure", "95 % interval", "held out", "subject is")
"""Of `DenseMeasured.rows`."""


def table(measured: Mapping[str, DenseMeasured]) -> list[str]:
    """Return the lines of a table of all protocols, and what else they say; [] without any."""
    if not measured:
        return []
    rows = [HEAD, *(row for each in measured.values() for row in each.rows())]
    counts = "; ".join(
        f"{each.title}: {counted(each.train, 'picture')} to learn from, {each.test:,} to test"
        for each in measured.values()
    )
    lower = [each.headline for each in measured.values() if each.lower]
    less = f" Of the {' and the '.join(dict.fromkeys(lower))} less is better." if lower else ""
    more = [
        f"{each.title}, {way}: {', '.join(f'{name} {each.says(value, name)}' for name, value in others.items())}."
        for each in measured.values()
        for way, score in each.trained.items()
        if len(others := {name: value for name, value in score.figures.items() if " of " not in name}) > 1
    ]
    texts = list(range(len(HEAD)))
    return [*aligned(rows, texts), "", f"{counts}.{less} Choices are made by held out alone.", *more]


def from_json(content: Mapping[str, Any]) -> dict[str, DenseMeasured]:
    """Read protocols of what `as_json` made of each."""
    return {name: DenseMeasured.from_json(each) for name, each in content.items()}


def file_of(epoch: int | None = None) -> str:
    """Return where in a run's folder the newest figures of each protocol are, of the end or of an epoch."""
    return "dense.json" if epoch is None else f"epochs/{epoch}.dense.json"


def write(folder: Path, measured: Mapping[str, DenseMeasured], epoch: int | None = None) -> None:
    """Write what was measured of a run; protocols of earlier calls stay, as each may have data of its own."""
    known = {**read(folder, epoch), **measured}
    write_json(folder / file_of(epoch), {name: each.as_json() for name, each in known.items()})


def read(folder: Path, epoch: int | None = None) -> dict[str, DenseMeasured]:
    """Read what was measured of a run, by protocol, with titles that tell these apart.

    Raises:
      UserError: the file is damaged.
    """
    path = folder / file_of(epoch)
    if not path.exists():
        return {}
    try:
        found = from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise UserError(f"{path} cannot be read ({problem}); remove it, and call tfssl evaluate again") from problem
    several = {title for title, count in Counter(each.title for each in found.values()).items() if count > 1}
    return {
        name: dataclasses.replace(each, title=f"{each.title} {name[name.find('(') :]}" if "(" in name else each.title)
        if each.title in several
        else each
        for name, each in found.items()
    }
