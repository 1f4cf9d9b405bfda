"""`--watch`: says after an epoch what features are worth by then, tells a collapse, and may end a run that is flat."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfssl.multitask.averaging import averaged
from tfssl.runs import metrics_log, watch
from tfssl.tasks.base import Encoders
from tfssl.training.callbacks import Logs
from tfssl.training.config import Complete
from tfssl.training.monitor import Monitor
from tfssl.training.opening import Opened, say
from tfssl.training.watched import Watched


class Watching(keras.callbacks.Callback):
    """Looks at the run after some epochs, and where there are labels before the first step.

    Comes before those that write, and writes the line of the look before the first step alone.

    What it knows of the looks before comes from the log of the run, which a checkpoint cuts: so a run that was killed
    and is resumed has seen what it would have seen.

    Args:
      watched: what is looked at.
      monitor: what looks.
      folder: of the run, whose log is cut to the checkpoint already.
      epochs: of the whole run.
      stop_when_flat: whether a run that has stopped rising ends.
      say_below_bar: is given lines for people while a bar is drawn.

    Attributes:
      looks: all looks at these pictures so far.
      latest: what was seen after this epoch; {} where it was not looked at.
      seconds: that looks took in this process, with what was read for them.
    """

    def __init__(
        self,
        watched: Watched,
        monitor: Monitor,
        folder: Path,
        epochs: int,
        stop_when_flat: bool,
        say_below_bar: Callable[[str], None],
    ):
        super().__init__()
        self._watched, self._monitor, self._folder, self._epochs = watched, monitor, folder, epochs
        self._stop_when_flat, self._say = stop_when_flat, say_below_bar
        lines = metrics_log.read(folder)
        self.looks = watch.looks_of(lines, watched.fingerprint)
        self.latest: dict[str, Any] = {}
        self.seconds = 0.0
        others = [line for line in lines if "watch" in line and line not in self.looks]
        if others:
            say(
                f"until epoch {others[-1]['epoch']} the run was watched by {others[-1]['watch']['data']} or by other"
                f" pictures of it; the curve begins anew with {watched.name}"
            )

    def look_before_training(self, verbose: int) -> None:
        """Look at a run of which no step is done, once, where there are labels: what it rises from."""
        if self._watched.part is None or self.looks:
            return
        began = time.perf_counter()
        seen = self._monitor.look(verbose)
        self.seconds += time.perf_counter() - began
        metrics_log.append(self._folder, 0, 0, {}, 0.0, 0.0, seen=seen)
        self.looks.append({"step": 0, "epoch": 0, **seen})

    @property
    def is_flat(self) -> bool:
        """Whether the run has stopped rising, and is to end."""
        return self._stop_when_flat and watch.is_flat(self.looks)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.latest = {}
        if not self._watched.is_due(epoch + 1, self._epochs) or not self._is_finite():
            return
        began = time.perf_counter()
        with averaged(self.model):
            self.latest = self._monitor.look()
        self.seconds += time.perf_counter() - began
        if logs is not None:
            logs |= {name: self.latest[name] for name in watch.FIGURES if name in self.latest}
        told = any(watch.has_collapsed(look) for look in self.looks if look["epoch"])
        self.looks.append({"epoch": epoch + 1, **self.latest})
        if watch.has_collapsed(self.latest) and not told:
            self._tell_collapse(epoch + 1)
        if self.is_flat:
            self.model.stop_training = True
            if epoch + 1 < self._epochs:
                self._say(self.why_flat(epoch + 1))

    def why_flat(self, epoch: int) -> str:
        """Say that the run ends after this epoch, and why."""
        return (
            f"flat: neither k-NN nor the closed-form probe has risen by more than its standard error in the last"
            f" {watch.PATIENCE} looks; the run ends after epoch {epoch} of {self._epochs}"
        )

    def _tell_collapse(self, epoch: int) -> None:
        stage, figures = list(self.latest["watch"]["stages"].items())[-1]
        self._say(
            f"COLLAPSED: after epoch {epoch} features of {stage} have nearly one direction for all pictures (effective"
            f" rank {figures['rank']:.2f}); end the run, and begin again with a lower --learning-rate, a larger"
            " --batch-size, or another task beside"
        )

    def result(self, seconds: float, verbose: int) -> dict[str, Any]:
        """Return what result.json has of it, {} where nothing was seen; say what it cost where labels were given.

        Args:
          seconds: that training took in this process, looks included.
          verbose: 0 to say nothing.
        """
        if not self.looks:
            return {}
        summary = watch.summary(self.looks)
        if self.seconds and seconds:
            summary["share_of_time"] = round(self.seconds / seconds, 4)
            if verbose and self._watched.part is not None:
                share = f"{100 * summary['share_of_time']:.1f} % of the time that training took"
                say(f"looking at the run took {self.seconds:.1f} s, {share}")
        epoch = summary["epoch"]
        return {"watch": summary} | ({"stopped": self.why_flat(epoch)} if self.is_flat and epoch < self._epochs else {})

    def _is_finite(self) -> bool:
        """Say whether weights are numbers; where not, who saves them says it, and ends the run."""
        return all(bool(tf.reduce_all(tf.math.is_finite(v.value))) for v in self.model.trainable_variables)


def make_watching(
    settings: Complete, opened: Opened, encoders: Encoders, say_below_bar: Callable[[str], None]
) -> Watching | None:
    """Make what looks at a run, and say what it looks at where that was asked for; None where nothing is watched.

    Args:
      encoders: what is trained.
      say_below_bar: is given lines for people while a bar is drawn.

    Raises:
      UserError: too many of the labelled pictures cannot be decoded.
    """
    watched = opened.watched
    if watched is None:
        return None
    began = time.perf_counter()
    if settings.verbose and watched.part is not None:
        say(str(watched))
    size, rows = settings.size, settings.batch_size
    trunk = encoders["image"]
    monitor = Monitor(watched, trunk, opened.plans.kept["image"], size, rows, settings.max_broken, settings.verbose)
    flat = settings.stop_when == "flat"
    watching = Watching(watched, monitor, opened.run.folder, settings.epochs, flat, say_below_bar)
    watching.seconds = time.perf_counter() - began
    return watching
