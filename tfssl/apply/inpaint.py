"""`inpaint`: paints holes of whole pictures with a run's network, and leaves all else as it was."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.apply import masks
from tfssl.apply.config import InpaintSettings
from tfssl.apply.outputs import write_png
from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.pipelines.decoding import full_size
from tfssl.pipelines.ops import windows
from tfssl.pipelines.ops.windows import Box
from tfssl.pipelines.progress import Progress
from tfssl.pipelines.sources import walking
from tfssl.pipelines.sources.folders import ENDINGS
from tfssl.runs.run import Run, load_run
from tfssl.tasks.inpainting import FILL, Inpainting, pasted

AT_ONCE = 16
MASK = "expected a picture or a folder of pictures (white = hole), TOP,LEFT,HEIGHT,WIDTH in pixels, or centre"


@dataclasses.dataclass(frozen=True)
class Filled(Result):
    """What `inpaint` wrote.

    Attributes:
      files: picture -> PNG with its holes painted.
      broken: pictures, and masks, that could not be read: name -> what is wrong.
    """

    files: dict[str, Path]
    broken: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints: the fields, and "count" of the files."""
        return {"count": len(self.files), **super().as_json()}

    def __str__(self) -> str:
        lines = [f"{name}: {path}" for name, path in self.files.items()]
        return "\n".join(lines + [f"left out: {name} {problem}" for name, problem in sorted(self.broken.items())])


@on_its_own()
def inpaint(
    run: str | Path | Run,
    pictures: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    mask: str | Path = "centre",
    verbose: int = 1,
) -> Filled:
    """Paint what a mask hides, from what is around it. The rest of each picture comes back as it was, bit by bit.

    Each hole is seen through a square window of at least twice its length, at the run's size; what is past the
    picture's border is its mirror image. What lies beneath a mask is never looked at. Pictures are turned upright.

    Args:
      run: a run that was trained on inpainting.
      pictures: files and folders, of any size and depth.
      out: folder for the PNG files, in folders as they were found.
      mask: "centre" (half of each side); "TOP,LEFT,HEIGHT,WIDTH" in pixels; a picture, white where the hole is, as
        large as every picture; or a folder of such masks, of the same names (with any ending).
      verbose: 1 a progress bar on standard error, 0 nothing.

    Raises:
      UserError: no run, or one without inpainting; no pictures, or none that can be read; a mask that is missing,
        empty, of another size or reaches outside; a picture that would be overwritten; a file that cannot be written.
    """
    settings = InpaintSettings(**locals())
    run = load_run(run)
    task = next((task for task in run.tasks() if isinstance(task, Inpainting)), None)
    if task is None:
        raise UserError(f"the run in {run.folder} has no inpainting, its tasks are: {run.settings.tasks}")
    listed = full_size.list_pictures(settings.pictures)
    finder = _mask_finder(str(mask), listed)
    targets = {picture: Path(out) / picture.name for picture in listed}
    inputs = {picture.path.resolve() for picture in listed}
    for picture, target in targets.items():
        if target.resolve() in inputs:
            raise UserError(f"{picture.path} would be overwritten; choose another folder for --out")
    painter = Painter(run, task)
    files, broken = {}, {}
    with Progress("pictures painted", str(out), len(listed), verbose) as progress:
        for picture, target in targets.items():
            try:
                image = _decoded(picture.path)
                hidden = finder(picture, image.shape[:2])
            except _BrokenFileError as problem:
                broken[str(problem.path)] = problem.reason
            else:
                write_png(target, painter(image, hidden))
                files[str(picture.path)] = target
            progress.add(1)
    if not files:
        name, reason = next(iter(broken.items()))
        raise UserError(f"none of {len(listed)} pictures can be painted; the first: {name} {reason}")
    return Filled(files, broken)


class Painter:
    """The network of a run on holes of any shape, in pictures of any size."""

    def __init__(self, run: Run, task: Inpainting):
        self._size = run.settings.size
        self._task = task
        solver = run.solver("inpainting")
        self._predict = tf.function(
            lambda puzzles: solver(puzzles, training=False),
            input_signature=[tf.TensorSpec([None, self._size, self._size, 3], tf.uint8)],
        )

    def __call__(self, image: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        """Return a picture, uint8 [H, W, 3], painted where `hidden`, bool [H, W]."""
        painted = image.copy()
        boxes = list(windows.divide_hidden(hidden, self._size // 2))
        for start in range(0, len(boxes), AT_ONCE):
            part = boxes[start : start + AT_ONCE]
            places = [self._window(box, hidden.shape) for box in part]
            puzzles = np.stack([self._puzzle(image, hidden, place) for place in places])
            for box, place, prediction in zip(part, places, self._predict(puzzles).numpy(), strict=True):
                inside = box._replace(top=box.top - place.top, left=box.left - place.left)
                own = windows.resized_part(prediction, place.height, inside)
                box.of(painted)[:] = pasted(box.of(painted), box.of(hidden), own)
        return painted

    def _window(self, box: Box, shape: tuple[int, ...]) -> Box:
        """Choose a window so large that its hole is no larger than those that the network learned on; not enlarged."""
        height, width = shape[:2]
        side = max(math.ceil(max(box[2:]) * self._size / self._largest_hole), min(self._size, max(height, width)))
        return windows.around(box, (height, width), side, centred=self._task.hole == "centre")

    @property
    def _largest_hole(self) -> int:
        """Side of the largest hole in the network's puzzles, pixels."""
        half = self._size // 2
        # One pixel less than what a centred hole hides: a window of odd length may be off the middle by half a pixel.
        return half if self._task.hole == "random" else max(half - 2 * self._task.overlap_at(self._size) - 1, 1)

    def _puzzle(self, image: np.ndarray, hidden: np.ndarray, place: Box) -> np.ndarray:
        """Return what the network sees of a window, uint8 [S, S, 3]."""
        seen, hole = windows.cut_window(image, hidden, place, self._size)
        if self._task.hole == "centre":  # it has never seen another hole
            hole |= self._task.centre_weights(self._size) == 1
        seen[hole] = FILL
        return seen


class _BrokenFileError(Exception):
    """A picture that cannot be read."""

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = path, reason


def _decoded(path: Path) -> np.ndarray:
    if unreadable := walking.problem_of(path):
        raise _BrokenFileError(path, unreadable)
    try:
        return full_size.decode(path.read_bytes())
    except OSError as problem:
        raise _BrokenFileError(path, f"cannot be read: {(problem.strerror or str(problem)).lower()}") from problem
    except ValueError as problem:
        raise _BrokenFileError(path, str(problem)) from problem


MaskFinder = Callable[[full_size.Listed, tuple[int, ...]], np.ndarray]


def _mask_finder(given: str, listed: list[full_size.Listed]) -> MaskFinder:
    """Return what gives the mask, bool [H, W], of a picture of a shape. Raise UserError where a mask is missing."""

    def of_box(box: Box, picture: full_size.Listed, shape: tuple[int, ...]) -> np.ndarray:
        name = Path(",".join(map(str, box)))
        return _checked(masks.of_box(box, picture.path, shape), name, picture, shape)

    if given == "centre":
        return lambda picture, shape: of_box(
            Box(shape[0] // 4, shape[1] // 4, max(shape[0] // 2, 1), max(shape[1] // 2, 1)), picture, shape
        )
    box = masks.parse_box(given)
    if box is not None:
        return lambda picture, shape: of_box(box, picture, shape)
    place = Path(given)
    if place.is_file():
        try:
            white = masks.of_picture(_decoded(place))
        except _BrokenFileError as problem:
            raise UserError(f"the mask {place} {problem.reason}") from problem
        return lambda picture, shape: _checked(white, place, picture, shape)
    if not place.is_dir():
        raise UserError(f"--mask {given} is given, {MASK}")
    files = {path.relative_to(place).with_suffix(""): path for path in _masks_in(place)}
    mask_of = {}
    for picture in listed:
        names = [picture.name.with_suffix(""), picture.name.with_suffix("").with_suffix("")]
        path = next((files[name] for name in names if name in files), None)
        if path is None:
            raise UserError(f"{place} has no mask for {picture.path}; expected {names[0]}.png there")
        mask_of[picture] = path
    return lambda picture, shape: _checked(
        masks.of_picture(_decoded(mask_of[picture])), mask_of[picture], picture, shape
    )


def _masks_in(folder: Path) -> list[Path]:
    return [folder / path for path in walking.walk(folder, ENDINGS).paths]


def _checked(hidden: np.ndarray, mask: Path, picture: full_size.Listed, shape: tuple[int, ...]) -> np.ndarray:
    masks.check_size(hidden, mask, picture.path, shape)
    if not hidden.any():
        raise UserError(f"the mask {mask} is empty; expected white where {picture.path} has its hole")
    if hidden.all():
        raise UserError(f"the mask {mask} hides all of {picture.path}; expected something left to go by")
    return hidden
