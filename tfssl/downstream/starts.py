"""What a classifier begins from: the weights of a run, of a file, or random ones."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.downstream.network import check_stage
from tfssl.evaluation.evaluate import PRECISE_STEPS
from tfssl.models import batch_norm
from tfssl.models.batch_norm import BatchNormalization
from tfssl.models.trunks import Trunk, make_trunk, stages_of
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.runs.run import Run, load_run
from tfssl.runs.served import embedding_of

SIZE = 96
"""Pixels of a side where no run says it."""


@dataclasses.dataclass(frozen=True)
class Start:
    """Weights to begin from.

    Attributes:
      name: in words: a run's folder, a file, "resnet18".
      size: pixels of a side.
      stage: where the trunk is cut.
      trained: the trunk with the weights to begin from; None where a trunk's name alone was given.
      random: the trunk with random weights.
      run: the run, where it is one.
    """

    name: str
    size: int
    stage: str
    trained: Trunk | None
    random: Trunk
    run: Run | None = None


def open_start(run: Any, trunk: Any, size: int | None, stage: str | None) -> Start:
    """Open what to begin from.

    Args:
      run: a run or its folder, or a .keras file; None where `trunk` is given.
      trunk: a name of a trunk, for random weights; a .keras file or a Keras model.
      size: pixels of a side; that of the run where None, else 96.
      stage: where the trunk is cut: its name, "best" for what `evaluate` found, None for the last one.

    Raises:
      UserError: no such run, file, trunk or stage.
    """
    given = run if trunk is None else trunk
    if isinstance(given, Run) or (isinstance(given, (str, Path)) and (Path(given) / "run.json").is_file()):
        if trunk is not None:
            raise UserError(f"--trunk {trunk} is a run; give it as RUN: tfssl finetune {trunk} DATA --out DIR")
        return _of_run(load_run(given), size, stage)
    if stage == "best":
        raise UserError("--stage best is what evaluate found of a run; give a run, or the stage's name")
    if isinstance(given, keras.Model) or str(given).endswith(".keras"):
        return _of_file(given, size, stage)
    if trunk is None:
        load_run(given)  # which says that it is none
    pixels = size or SIZE
    made = make_trunk(str(given), pixels)
    return Start(str(given), pixels, check_stage(made, stage, "--stage"), None, made)


def _of_run(run: Run, size: int | None, stage: str | None) -> Start:
    stage = embedding_of(run).stage if stage == "best" else stage
    trunk = run.trunk()
    stage = check_stage(trunk, stage, "--stage")
    return Start(str(run.folder), size or run.settings.size, stage, trunk, run.random_trunk(), run)


def _of_file(given: Any, size: int | None, stage: str | None) -> Start:
    """Read a trunk of a file: an encoder that this package wrote, or float [N, S, S, 3] -> float [N, h, w, C]."""
    name, model = (given.name, given) if isinstance(given, keras.Model) else (str(given), _read(given))
    pixels = size or _side(model) or SIZE
    parts = {layer.name: layer for layer in model.layers}
    if isinstance(parts.get("rescaling"), keras.Model) and isinstance(parts.get("body"), keras.Model):
        trunk = Trunk(parts["rescaling"], parts["body"], stages_of(parts["body"]))
    else:
        trunk = make_trunk(model, pixels)
    random = dataclasses.replace(trunk, body=keras.models.clone_model(trunk.body))
    return Start(name, pixels, check_stage(trunk, stage, "--stage"), trunk, random)


def _read(path: Any) -> keras.Model:
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist; expected a .keras file of a trunk")
    try:
        return keras.models.load_model(path, {"BatchNormalization": BatchNormalization}, compile=False)
    except (ValueError, OSError, TypeError, KeyError) as problem:
        reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        raise UserError(f"{path} cannot be read ({reason}); expected a .keras file of a trunk") from problem


def _side(model: keras.Model) -> int | None:
    shape = model.input_shape
    return shape[1] if isinstance(shape, tuple) and len(shape) == 4 else None


def with_precise_batch_norm(trunk: Trunk, source: AnySource, size: int, batch_size: int, seed: int) -> Trunk:
    """Give a trunk with random weights the batch norm statistics of pictures of a source, and return it."""
    batch_size = min(batch_size, source.count)
    sample = batches.sample(source, PRECISE_STEPS * batch_size, seed)
    plain = batches.plain(sample, size, batch_size)
    images = plain.map(lambda batch: tf.boolean_mask(batch["image"], batch["valid"]))
    whole = keras.Input((size, size, 3), dtype="uint8")
    batch_norm.estimate(keras.Model(whole, trunk(whole)), images, PRECISE_STEPS)
    return trunk
