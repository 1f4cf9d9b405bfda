"""`colorize`: colours whole grey pictures and films with a run's network, and leaves their lightness as it was."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.apply.config import ColorizeSettings
from tfssl.apply.outputs import frame_progress, write_png
from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.pipelines.clips import video_files
from tfssl.pipelines.decoding import full_size
from tfssl.pipelines.progress import Progress
from tfssl.pipelines.sources import walking
from tfssl.runs.run import Run, load_run
from tfssl.tasks.colorization import Colorization
from tfssl.tasks.parts.colourer import Colourer


@dataclasses.dataclass(frozen=True)
class Colorized(Result):
    """What `colorize` wrote.

    Attributes:
      files: picture or film -> what was made of it, a file for each draw.
      broken: what could not be read: name -> what is wrong.
      damaged: films of which a part is lost: name -> what.
    """

    files: dict[str, list[Path]]
    broken: dict[str, str]
    damaged: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints: the fields, and "count" of the files."""
        return {"count": len(self.files), **super().as_json()}

    def __str__(self) -> str:
        lines = [f"{name}: {', '.join(map(str, paths))}" for name, paths in self.files.items()]
        lines += [f"left out: {name} {problem}" for name, problem in sorted(self.broken.items())]
        return "\n".join(lines + [f"damaged: {name} {problem}" for name, problem in sorted(self.damaged.items())])


@on_its_own()
def colorize(
    run: str | Path | Run,
    pictures: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    draws: int = 1,
    temperature: float | None = None,
    verbose: int = 1,
) -> Colorized:
    """Colour grey pictures, old photographs say, and films frame by frame, at their own size.

    The network sees the lightness, its short side as long as the run's crops, and tells a and b at a quarter of that,
    which are made larger bilinearly. Colours that a picture has are not looked at. Pictures are turned upright.

    Args:
      run: a run that was trained on colorization.
      pictures: files and folders, of any size and depth.
      out: folder for the results, in folders as they were found: PNG, and MP4 (H.264) of films, with their sound.
      draws: how many colourings of each, named old-1.png, old-2.png; more than one for runs with diverse=K only.
      temperature: of the annealed mean, for runs with loss="classification"; lower is more colourful and patchy.
      verbose: 1 a progress bar on standard error, 0 nothing.

    Raises:
      UserError: no run, or one without colorization; draws or a temperature that it does not know; no pictures, or none
        that can be read; one that would be overwritten; a file that cannot be written; a film without PyAV.
    """
    settings = ColorizeSettings(**locals())
    run = load_run(run)
    task = _task(run, draws, temperature)
    listed = full_size.list_pictures(settings.pictures, also=video_files.ENDINGS)
    jobs = [
        (picture, number, _target(Path(out) / picture.name, number, draws))
        for picture in listed
        for number in range(draws)
    ]
    inputs = {picture.path.resolve() for picture in listed}
    for picture, _, target in jobs:
        if target.resolve() in inputs:
            raise UserError(f"{picture.path} would be overwritten; choose another folder for --out")
    painter = Colourer(run, task)
    files: dict[str, list[Path]] = {}
    broken: dict[str, str] = {}
    damaged: dict[str, str] = {}
    with Progress("pictures coloured", str(out), len(jobs), verbose) as progress:
        for picture, number, target in jobs:
            if str(picture.path) not in broken:
                try:
                    damage = _colour(picture.path, target, functools.partial(painter, draw=number), verbose)
                    if damage:
                        damaged[str(picture.path)] = damage
                    files.setdefault(str(picture.path), []).append(target)
                except _BrokenFileError as problem:
                    broken[str(picture.path)] = str(problem)
            progress.add(1)
    if not files:
        name, reason = next(iter(broken.items()))
        raise UserError(f"none of {len(listed)} pictures can be coloured; the first: {name} {reason}")
    return Colorized(files, broken, damaged)


def _task(run: Run, draws: int, temperature: float | None) -> Colorization:
    task = next((task for task in run.tasks() if isinstance(task, Colorization)), None)
    if task is None:
        raise UserError(f"the run in {run.folder} has no colorization, its tasks are: {run.settings.tasks}")
    if draws > 1 and not task.diverse:
        raise UserError(
            f"--draws {draws} is given, but {task} has one colouring of a picture; leave it out, or give a run of"
            " colorization(diverse=16)"
        )
    if temperature is None:
        return task
    if not task.bins:
        raise UserError(f"--temperature {temperature} is given, but {task} has no bins to take a mean of; leave it out")
    return dataclasses.replace(task, temperature=temperature)


def _target(path: Path, number: int, draws: int) -> Path:
    return path.with_stem(f"{path.stem}-{number + 1}") if draws > 1 else path


class _BrokenFileError(Exception):
    """A file that cannot be read; the message goes on from its name."""


def _colour(path: Path, target: Path, paint: Callable[[np.ndarray], np.ndarray], verbose: int) -> str:
    """Colour a picture or film; say what of a film is lost."""
    if unreadable := walking.problem_of(path):
        raise _BrokenFileError(unreadable)
    try:
        if video_files.is_film(path):
            with frame_progress(path, verbose) as progress, atomic_write(target) as temporary:
                return video_files.change(path, temporary, lambda image, _: paint(image), progress)
        painted = paint(full_size.decode(path.read_bytes()))
    except ValueError as problem:
        if isinstance(problem, UserError):
            raise
        raise _BrokenFileError(str(problem)) from problem
    except OSError as problem:
        raise _BrokenFileError(f"cannot be read: {(problem.strerror or str(problem)).lower()}") from problem
    write_png(target, painted)
    return ""
