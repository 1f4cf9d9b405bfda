"""What happens around a training step: learning rate, speed, the log, checkpoints, and stopping."""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.multitask import metric_sums
from tfssl.pipelines.batches import BrokenPictures
from tfssl.pipelines.sources.any_source import AnySource, too_many_broken
from tfssl.runs import metrics_log
from tfssl.runs.checkpoints import Checkpoints

Logs = dict[str, Any]


class Steps(keras.callbacks.Callback):
    """Counts the run's own steps, sets the learning rate of each, and measures images, or words, per second.

    The optimizer's own counter counts updates, which are not steps where a step has several or loss scaling skips one.
    Comes first: the callbacks after it read `done`. `within` is true inside of a step, when variables are half changed.
    """

    def __init__(self, start: int, learning_rate: Callable[[int], float], images: float, unit: str = "images"):
        super().__init__()
        self.done, self.within, self.unit = start, False, unit
        self._learning_rate, self._images = learning_rate, images
        self.learning_rate = learning_rate(start)
        self._timed_steps, self._timed_seconds, self._skip = 0, 0.0, 0
        self._last: float | None = None

    @property
    def images_per_second(self) -> float:
        """Source images a second in this process, the first two steps (tracing) left out; 0 as long as unknown."""
        return self._images * self._timed_steps / self._timed_seconds if self._timed_seconds else 0.0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._skip, self._last = 2, None

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self.within = True
        self.learning_rate = self._learning_rate(self.done)
        self.model.optimizer.learning_rate = self.learning_rate

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.done, self.within = self.done + 1, False
        now = time.perf_counter()
        if self._skip:
            self._skip -= 1
        elif self._last is not None:
            self._timed_steps += 1
            self._timed_seconds += now - self._last
        self._last = now
        if logs is not None and self.images_per_second:
            logs[f"{self.unit}/s"] = round(self.images_per_second, 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._last = None  # what is done between epochs is not training
        if logs is not None:
            logs |= {f"{self.unit}/s": round(self.images_per_second, 1), "learning_rate": self.learning_rate}


class RestoreMetrics(keras.callbacks.Callback):
    """Puts the metrics of an epoch that was interrupted back, after Keras has reset them at its beginning."""

    def __init__(self, saved: np.ndarray):
        super().__init__()
        self._saved: np.ndarray | None = saved

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self._saved is not None:
            metric_sums.assign(self.model, self._saved)
            self._saved = None


class StopWhenNotFinite(keras.callbacks.Callback):
    """Stops the run at the first loss that is not finite."""

    def __init__(self, steps: Steps, checkpoints: Checkpoints):
        super().__init__()
        self._steps, self._checkpoints = steps, checkpoints

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        for name, value in (logs or {}).items():
            if "loss" in name and not math.isfinite(float(value)):
                raise not_finite(name, self._steps, self._checkpoints)


class DivergedError(UserError):
    """The error of a run whose weights are of no use any more; the checkpoint before is."""


def not_finite(what: str, steps: Steps, checkpoints: Checkpoints) -> DivergedError:
    """Make the error of a run that diverged."""
    kept = (
        "no checkpoint was made yet"
        if checkpoints.saved is None
        else f"the checkpoint of step {checkpoints.saved} is kept"
    )
    return DivergedError(
        f"{what} is not finite at step {steps.done} (learning rate {steps.learning_rate:.4g}); {kept}."
        " Begin again with a lower --learning-rate"
    )


class MetricsLog(keras.callbacks.Callback):
    """metrics.jsonl: a line every `every` steps and one at the end of each epoch; the former for TensorBoard too.

    A line holds means over the steps since the line before it, which show what happens when it happens: a running mean
    over the epoch, as the progress bar shows it, hides that a loss rises. The line of an epoch's end is marked as
    "epoch_end" and holds the means over the whole epoch.

    Args:
      folder: the run's.
      saved: `Checkpoints.metrics` of a run that is resumed in the middle of an epoch.
      seen: gives what a look at the run after this epoch gave, {} without one.

    Attributes:
      window: the metrics' sums as they were at the last line.
      ended: the step after which the last epoch's line was written.
    """

    def __init__(
        self,
        folder: Path,
        steps: Steps,
        every: int,
        saved: np.ndarray | None = None,
        seen: Callable[[], Mapping[str, Any]] = dict,
    ):
        super().__init__()
        self._seen = seen
        self._folder, self._steps, self._every, self._epoch = folder, steps, every, 0
        self._saved, self.window, self.ended = saved, np.zeros(0), -1
        self._events = tf.summary.create_file_writer(str(folder / "tensorboard" / "steps"))

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch
        self.window = metric_sums.read(self.model)
        if self._saved is not None:
            # Checkpoints of earlier versions hold the first half alone: their window begins where they were saved.
            self.window, self._saved = self._saved[-self.window.size :], None

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._steps.done % self._every:
            return
        sums = metric_sums.read(self.model)
        means = metric_sums.values(self.model, sums - self.window)
        self.window = sums
        self._write(means)
        figures = means | {"learning_rate": self._steps.learning_rate}
        with self._events.as_default(self._steps.done):
            for name, value in figures.items():
                tf.summary.scalar(name, value)
        self._events.flush()  # or what came before a kill and after a checkpoint of it would be missing

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        means = {name: float(value) for name, value in metrics_log.metrics_of(logs or {}).items()}
        self._write(means, epoch_end=True, seen=self._seen())
        self.ended = self._steps.done

    def _write(self, means: dict[str, float], epoch_end: bool = False, seen: Mapping[str, Any] | None = None) -> None:
        done, learning_rate = self._steps.done, self._steps.learning_rate
        speed = round(self._steps.images_per_second, 1)
        unit = self._steps.unit
        metrics_log.append(self._folder, done, self._epoch + 1, means, learning_rate, speed, epoch_end, seen, unit)


class SaveAndStop(keras.callbacks.Callback):
    """Saves every `every` steps and at the end of each epoch; saves and stops on SIGTERM and Ctrl-C.

    Comes after those that write, so that a checkpoint knows what they have written, and before those that may stop the
    run at the end of an epoch. Whatever else stops it calls `rescue`.
    """

    def __init__(
        self, steps: Steps, log: MetricsLog, checkpoints: Checkpoints, every: int, steps_per_epoch: int, total: int
    ):
        super().__init__()
        self._steps, self._log, self._checkpoints, self._every = steps, log, checkpoints, every
        self._steps_per_epoch, self._total = steps_per_epoch, total
        self._signal: int | None = None
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Begin to catch signals; only the main thread can."""
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:
                return

    def forget(self) -> None:
        """Give signals back to who handled them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._steps.done % self._steps_per_epoch == 0:
            return  # the epoch's own line is not in the log yet: on_epoch_end comes next
        if self._signal is not None or self._steps.done % self._every == 0:
            self._save()
        self._stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._save()
        self._stop_if_asked()

    def rescue(self, problem: BaseException) -> None:
        """Save what is done before an error ends the run: one of another callback, as a disk or a pipe that is gone.

        Not inside of a step, nor before the line of an epoch that has ended, without which a run cannot be resumed.
        """
        ended = self._steps.done % self._steps_per_epoch == 0
        if self._steps.within or isinstance(problem, DivergedError) or (ended and self._log.ended != self._steps.done):
            return
        with contextlib.suppress(UserError):  # the first error is the one to be said
            self._save()

    def _stop_if_asked(self) -> None:
        if self._signal is not None:
            raise Stopped(self._steps.done, self._total)

    def _save(self) -> None:
        # The loss of this step was finite, the weights after its update may not be.
        if not all(bool(tf.reduce_all(tf.math.is_finite(v.value))) for v in self.model.trainable_variables):
            raise not_finite("a weight", self._steps, self._checkpoints)
        self._checkpoints.save(self._steps.done, self._log.window)


class BrokenLimit(keras.callbacks.Callback):
    """Stops a run whose source turns out to have more broken pictures than allowed; comes after `SaveAndStop`."""

    def __init__(self, source: AnySource, broken: BrokenPictures, largest: float):
        super().__init__()
        self._source, self._broken, self._largest = source, broken, largest

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.check()

    def check(self) -> None:
        """Raise UserError where there are too many: also of a run that is resumed, and knows those of before."""
        names = self._broken.names()
        if len(names) > self._largest * self._source.listed:
            problem = too_many_broken(self._source.name, names, self._source.listed, self._largest)
            raise UserError(f"{problem}. The run is saved; the same command with a larger --max-broken resumes it")


class EachEpochs(keras.callbacks.Callback):
    """Calls with the number of epochs that are done, every `every` epochs."""

    def __init__(self, every: int, call: Callable[[int], None]):
        super().__init__()
        self._every, self._call = every, call

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self._every == 0:
            self._call(epoch + 1)


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, and has saved."""

    def __init__(self, step: int, total: int):
        super().__init__(f"stopped at step {step} of {total}; saved. The same command resumes it from there")
