"""What `quickstart` made, summed up."""

import dataclasses
from pathlib import Path

from tfssl.base.result import Result


@dataclasses.dataclass(frozen=True)
class Quickstart(Result):
    """What `quickstart` made.

    Attributes:
      folder: of all.
      minutes: that it took, with what was interrupted.
      asked_minutes: that it was given.
      puzzles: pictures of puzzles.
      run, classifier: folders; no classifier without labels.
      reports: pages.
      models: folders of what was exported, for `tfssl serve` and TensorFlow Serving.
      commands: the parts as commands.
      says: figures in words.
      wrong: those of `models` that do not answer as what was measured.
    """

    folder: Path
    minutes: float
    asked_minutes: float
    puzzles: tuple[Path, ...]
    run: Path
    classifier: Path | None
    reports: tuple[Path, ...]
    models: tuple[Path, ...]
    commands: tuple[str, ...]
    says: tuple[str, ...]
    wrong: tuple[Path, ...]

    @property
    def ok(self) -> bool:
        """Whether all that was exported answers as what was measured."""
        return not self.wrong

    def __str__(self) -> str:
        listed = {"puzzles": self.puzzles, "report": self.reports, "SavedModel": self.models}
        lines = [f"done in {self.minutes:.1f} of {self.asked_minutes:g} minutes: {self.folder}"]
        lines += [f"{name + ':':12}{', '.join(map(str, files))}" for name, files in listed.items()]
        lines += [f"what was exported does not answer as what was measured: tfssl check {each}" for each in self.wrong]
        return "\n".join([*lines, "figures:", *(f"  {line}" for line in self.says)])
