"""Checkpoints that hold all that a bit-identical continuation needs."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.multitask import metric_sums
from tfssl.multitask.model import PretextModel
from tfssl.pipelines.batches import BrokenPictures

KEPT = 2


class Checkpoints:
    """Weights, batch norm statistics, optimizer, dropout's seeds, opponents, banks, the step, and the metrics' sums.

    `tf.train.Checkpoint(model=...)` and `.keras` files leave the state of Keras's seed generators out and say nothing
    (Keras 3.15), so variables are listed here one by one. Beside them, `broken.json` has the numbers of the pictures
    that turned out broken so far: those that come after a checkpoint are met again when the run resumes from it.

    Args:
      averages: moving averages of the trainable weights, which the optimizer has too: `read_weights` finds them by this
        name. Nothing is written twice.
    """

    def __init__(
        self, model: PretextModel, folder: Path, broken: BrokenPictures, averages: Sequence[keras.Variable] = ()
    ):
        self._model = model
        self._broken, self._broken_path = broken, folder / "broken.json"
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        # Keras makes the variables of its metrics at the first batch, so their values travel as one vector.
        self._metrics = tf.Variable(np.zeros(0), shape=[None], dtype=tf.float64, trainable=False)
        seeds = [v for v in model.non_trainable_variables if v.path.endswith("seed_generator_state")]
        self._checkpoint = tf.train.Checkpoint(
            weights=[v.value for v in model.weights],
            optimizer=[v.value for v in model.optimizer.variables],
            seeds=[v.value for v in seeds],
            opponents=[v.value for v in model.extra_variables()],
            step=self._step,
            metrics=self._metrics,
            **({"averages": [v.value for v in averages]} if averages else {}),
        )
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(folder), KEPT, checkpoint_name="step")
        self.saved: int | None = None

    def save(self, step: int, window: np.ndarray) -> None:
        """Save the state after `step` steps; do nothing where it is saved already.

        Args:
          window: the metrics' sums as they were at the last line of the log: see `callbacks.MetricsLog`.

        Raises:
          UserError: the folder cannot be written. The checkpoint before is kept.
        """
        if self.saved == step:
            return
        self._step.assign(step)
        self._metrics.assign(np.concatenate([metric_sums.read(self._model), window]))
        if self._broken.numbers():
            write_json(self._broken_path, self._broken.numbers())
        try:
            self._manager.save(checkpoint_number=step)
        except (tf.errors.OpError, OSError) as problem:
            reason = str(getattr(problem, "message", problem)).splitlines()[0]
            kept = f"; the checkpoint of step {self.saved} is kept" if self.saved is not None else ""
            raise UserError(f"cannot save step {step} in {self._manager.directory}: {reason}{kept}") from problem
        self.saved = step

    def restore(self, say: Callable[[str], None]) -> int:
        """Restore the newest checkpoint that can be read, and return its step; 0 where there is none."""
        for path in reversed(self._manager.checkpoints):
            try:
                self._checkpoint.restore(path).assert_consumed()
            except (tf.errors.OpError, ValueError, AssertionError, OSError, IndexError, RuntimeError):
                say(f"the checkpoint {Path(path).name} is damaged; the one before it is used")
                continue
            self.saved = int(self._step.numpy())
            if self._broken_path.exists():
                self._broken.restore(json.loads(self._broken_path.read_text()))
            return self.saved
        if self._manager.checkpoints:
            raise UserError(f"no checkpoint in {self._manager.directory} can be read; begin again in a new --out")
        return 0

    def metrics(self) -> np.ndarray:
        """Return the metrics' sums as they were saved, float64, of the epoch so far, then of the log's last line."""
        return self._metrics.numpy()


def read_weights(model: keras.Model, folder: Path, averaged: bool = False) -> None:
    """Fill a model with the weights of the newest checkpoint, or with their moving averages.

    Raises:
      UserError: there is none that fits.
    """
    newest = tf.train.latest_checkpoint(str(folder))
    if newest is None:
        raise UserError(f"there is no checkpoint in {folder}; the run has not saved yet")
    try:
        tf.train.Checkpoint(weights=[v.value for v in model.weights]).restore(newest).expect_partial()
        if averaged:
            averages = [v.value for v in model.trainable_variables]
            tf.train.Checkpoint(averages=averages).restore(newest).expect_partial()
    except (tf.errors.OpError, ValueError, OSError, IndexError, RuntimeError) as problem:
        raise UserError(f"the checkpoint {newest} cannot be read: {str(problem).splitlines()[0]}") from problem
