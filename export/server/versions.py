"""The versions of a folder: the largest complete one is served, as TensorFlow Serving's policy "latest" does.

A new version is loaded and warmed up beside the one that answers, then takes over; the old one goes when its last
request has ended. Where the largest is removed, the largest that is left is loaded.
"""

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from tfssl.base.errors import UserError
from tfssl.export.config import LARGEST_VERSION
from tfssl.export.server.errors import RequestError, shorten
from tfssl.export.server.model import Model
from tfssl.export.server.warm_up import warm_up
from tfssl.export.versions import numbers, numbers_beyond

State = ModelVersionStatus.State
BROKEN = (OSError, ValueError, KeyError, RuntimeError, RequestError, tf.errors.OpError)
"""What loading a version that cannot be served raises."""


@dataclasses.dataclass
class _Loaded:
    model: Model
    users: int = 0
    retired: bool = False


@dataclasses.dataclass(frozen=True)
class Status:
    """Status of one version: its state as the protocol counts them, and what went wrong with it."""

    number: int
    state: int
    problem: str = ""


class Versions:
    """The versions of a folder, loaded, swapped and unloaded. Several threads may call methods at once, one `poll`."""

    def __init__(self, folder: str | Path, name: str):
        """Load nothing before the first `poll`.

        Args:
          folder: DIR, with versions in it.
          name: the name of the model, for messages.
        """
        self.folder, self.name = Path(folder), name
        self._lock = threading.Lock()
        self._loaded: dict[int, _Loaded] = {}
        self._current: int | None = None
        self._states: dict[int, Status] = {}
        self._broken: dict[int, tuple] = {}  # the files of a version that could not be loaded
        self._beyond: set[int] = set()

    @property
    def current(self) -> int | None:
        """The number of the version that answers; None where there is none."""
        return self._current

    @property
    def seen(self) -> list[int]:
        """All versions that were loaded."""
        return sorted(number for number, status in self._states.items() if not status.problem)

    def statuses(self) -> list[Status]:
        """Return the status of all versions that were ever tried, the largest number first."""
        with self._lock:
            return sorted(self._states.values(), key=lambda status: -status.number)

    @contextlib.contextmanager
    def use(self, number: int | None = None) -> Iterator[Model]:
        """Give a version that stays loaded within the block: the current one where `number` is None.

        Raises:
          RequestError: it is not loaded.
        """
        with self._lock:
            wanted = self._current if number is None else number
            loaded = self._loaded.get(wanted) if wanted is not None else None
            if loaded is None or loaded.retired:
                asked = f"Latest({self.name})" if number is None else f"Specific({self.name}, {number})"
                raise RequestError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
            loaded.users += 1
        try:
            yield loaded.model
        finally:
            with self._lock:
                loaded.users -= 1
            self._unload_unused()

    def poll(self) -> None:
        """Look at the folder, and serve what is to be served now. Return when it does.

        A version that cannot be loaded is logged, and tried again when its files change.
        """
        self._say_beyond()
        candidates = self._complete()
        for number in reversed(candidates):
            if number == self._current:
                return
            if self._broken.get(number) != _files(self.folder / str(number)) and self._load(number):
                self._serve(number)
                return
        if self._current is not None and self._current not in candidates:
            self._serve(None)

    def problem(self) -> str:
        """Say in one line why no version could be loaded."""
        problems = [f"version {status.number}: {status.problem}" for status in self.statuses() if status.problem]
        problems += [_too_large(number) for number in numbers_beyond(self.folder)]
        return "; ".join(problems) or "it holds no complete version"

    def close(self) -> None:
        """Unload all; nobody may use any."""
        with self._lock:
            loaded, self._loaded, self._current = self._loaded, {}, None
        for each in loaded.values():
            each.model.close()

    def _complete(self) -> list[int]:
        try:
            return [n for n in numbers(self.folder) if (self.folder / str(n) / "saved_model.pb").is_file()]
        except OSError:  # removed while it was read: looked at again at the next poll
            return [] if self._current is None else [self._current]

    def _say_beyond(self) -> None:
        """Log, once, the folders whose number no version can have."""
        with contextlib.suppress(OSError):
            beyond = set(numbers_beyond(self.folder))
            for number in sorted(beyond - self._beyond):
                logging.getLogger("tfssl").warning(
                    "%s is not served: %s", self.folder / str(number), _too_large(number)
                )
            self._beyond = beyond

    def _load(self, number: int) -> bool:
        folder = self.folder / str(number)
        files = _files(folder)
        self._say(number, State.LOADING)
        model = None
        try:
            model = Model(folder, number)
            warm_up(model, folder)
        except BROKEN as problem:
            if model is not None:
                model.close()
            reason = (getattr(problem, "message", str(problem)).strip().splitlines() or [type(problem).__name__])[0]
            self._broken[number] = files
            self._say(number, State.END, shorten(reason))
            rest = "no version is served" if self._current is None else f"version {self._current} stays in service"
            logging.getLogger("tfssl").warning("%s cannot be served (%s): %s", folder, shorten(reason), rest)
            return False
        self._broken.pop(number, None)
        with self._lock:
            self._loaded[number] = _Loaded(model)
        return True

    def _serve(self, number: int | None) -> None:
        with self._lock:
            before, self._current = self._current, number
            if before is not None:
                self._loaded[before].retired = True
                self._states[before] = Status(before, State.UNLOADING)
        if number is not None:
            self._say(number, State.AVAILABLE)
            logging.getLogger("tfssl").info("version %d is served", number)
        elif before is not None:
            logging.getLogger("tfssl").info("no version is served any more")
        self._unload_unused()

    def _unload_unused(self) -> None:
        with self._lock:
            unused = [each for each in self._loaded.values() if each.retired and each.users == 0]
            for each in unused:
                del self._loaded[each.model.number]
        for each in unused:
            each.model.close()
            self._say(each.model.number, State.END)
            logging.getLogger("tfssl").info("version %d is unloaded", each.model.number)

    def _say(self, number: int, state: int, problem: str = "") -> None:
        with self._lock:
            self._states[number] = Status(number, state, problem)


def _too_large(number: int) -> str:
    return f"{number} is larger than the largest version there can be, {LARGEST_VERSION}"


def check_folder(folder: Path) -> None:
    """Raise UserError where a folder cannot hold versions."""
    if (folder / "saved_model.pb").is_file():
        raise UserError(f"{folder} is one version of an export; expected the folder that it lies in, {folder.parent}")
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; expected a folder that `tfssl export RUN DIR` wrote")


def _files(folder: Path) -> tuple:
    """Return names, sizes and times of the files of a version."""
    try:
        files = [(str(path), path.stat()) for path in sorted(folder.rglob("*"))]
    except OSError:
        return ()
    return tuple((path, status.st_size, status.st_mtime_ns) for path, status in files)
