"""`report`: the page of a run made anew, or a page of runs side by side."""

import dataclasses
from pathlib import Path
from typing import Any

from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.report import comparing, page
from tfssl.report.config import ReportSettings
from tfssl.runs.classifiers import target_of
from tfssl.runs.run import Run, load_run


@dataclasses.dataclass(frozen=True)
class Reported(Result):
    """A page.

    Attributes:
      page: where it is.
      runs: folders of the runs that it shows.
      sentences: of several runs, what came out, in words.
    """

    page: Path
    runs: tuple[Path, ...]
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([f"page {self.page}", *self.sentences])


@on_its_own()
def report(runs: Any, to: str | Path | None = None) -> Reported:
    """Make the page of a run anew; of several runs one page that sets them side by side.

    A page is one file that needs no other and no network. That of several runs has their figures, the settings that
    differ, learning curves over each other, and best stages with 95 % intervals; sentences say which is ahead, and
    whether the runs were evaluated alike. Nothing is computed but the answers to the puzzles of the page of one run.

    Args:
        runs: a run (`tfssl.load_run`) or its folder, or several.
        to: the page, an HTML file; of one run `report.html` in its folder where None.

    Raises:
        UserError: a folder that is no run, the same one twice, several without `to`, a page that cannot be written.
    """
    settings = ReportSettings(**locals())
    loaded = [_load(each) for each in settings.runs]
    folders = [run.folder.resolve() for run in loaded]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UserError(f"{folder} is given {folders.count(folder)} times; give each run once")
    if len(loaded) == 1:
        path, said = page.write_report(loaded[0], settings.to), []
    elif settings.to is None:
        raise UserError(
            f"{len(loaded)} runs are given, and no file for their page; say where it goes: --to compare.html"
        )
    else:
        shown = comparing.contents(loaded)
        path, said = page.write_page(settings.to, "compare.html.jinja", shown), shown["sentences"]
    return Reported(path, tuple(run.folder for run in loaded), tuple(said))


def _load(run: Run | str | Path) -> Run:
    target = None if isinstance(run, Run) else target_of(run)
    if target is not None:
        what = "a classifier" if target == "classes" else f"a network for {target}"
        raise UserError(f"{run} is {what}, whose page finetune writes into it; give runs of pretrain")
    return load_run(run)
