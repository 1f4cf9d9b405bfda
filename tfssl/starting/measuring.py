"""How fast this machine is: a few steps of pretraining on the clock, and a few pictures read."""

import time
from typing import Any

import keras
import tensorflow as tf

from tfssl.base.keras_state import on_its_own, plain_keras
from tfssl.multitask.encoders import Plans
from tfssl.multitask.model import build_metrics, compile_model, make_model
from tfssl.multitask.puzzle_stream import stream, stream_spec
from tfssl.pipelines import batches
from tfssl.pipelines.decoding import cache
from tfssl.pipelines.sources.pictures import PictureSource
from tfssl.pipelines.sources.source import AnySource
from tfssl.starting.budget import Speed
from tfssl.tasks import parse_tasks
from tfssl.training.config import PretrainSettings
from tfssl.training.learning import optimizer_of

SAMPLE = 512
"""Pictures that it is measured on."""
UNCOUNTED = 2
"""Steps that do not count: the first traces, and the stream's buffers fill."""
LEAST, MOST, SECONDS = 4, 40, 5.0
"""Steps that count: at least, at most, and for how long where that is in between."""


class Clock(keras.callbacks.Callback):
    """Stops `fit` when enough steps were timed.

    Attributes:
      setup: seconds from its making to the end of the first step.
      step: mean seconds of a step.
    """

    def __init__(self) -> None:
        super().__init__()
        self._began = time.perf_counter()
        self._counted_from = self._began
        self.setup, self.step = 0.0, 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        for value in (logs or {}).values():
            float(value)  # waits for the step, where a GPU is still at it
        now, done = time.perf_counter(), batch + 1
        if batch == 0:
            self.setup = now - self._began
        if done <= UNCOUNTED:
            self._counted_from = now
            return
        counted = done - UNCOUNTED
        self.step = (now - self._counted_from) / counted
        if counted >= MOST or (counted >= LEAST and now - self._counted_from >= SECONDS):
            self.model.stop_training = True


@on_its_own()
def measure(
    source: PictureSource, tasks: str, size: int, batch: int, trunk: str, mixed_precision: str | None = None
) -> Speed:
    """Measure what `pretrain` does with these settings, on a network that is thrown away.

    Pictures are kept decoded where `pretrain` keeps them so. The network is on one device, also where there are several
    GPUs.
    """
    sample = source if source.count <= SAMPLE else batches.sample(source, SAMPLE, 0)
    batch = min(batch, sample.count)
    settings = PretrainSettings(data=source.name)
    prepared = [task.prepared(sample) for task in parse_tasks(tasks)]
    picture = seconds_of_picture(sample, size)
    kept = cache.MEMORY if cache.fits(source, size) else 0
    dataset = stream(sample, prepared, size, batch, 0, verbose=0, cache_memory=kept)
    clock = Clock()
    with plain_keras(f"mixed_{mixed_precision}" if mixed_precision else "float32"):
        encoders = Plans(trunk, size).make()
        spec = stream_spec(prepared, size, batch)
        model = make_model(prepared, encoders, spec)
        compile_model(model, prepared, encoders, optimizer_of(settings))
        build_metrics(model, spec)
        model.fit(dataset, steps_per_epoch=UNCOUNTED + MOST, callbacks=[clock], shuffle=False, verbose=0)
    return Speed(clock.step, clock.setup, picture, len(prepared))


def seconds_of_picture(sample: AnySource, size: int) -> float:
    """Measure how long reading and decoding of one picture takes, in a pass over some."""
    began, count = None, 0
    for batch in batches.plain(sample, size, min(64, max(1, sample.count // 4))):
        if began is None:
            began = time.perf_counter()  # tracing does not count
        else:
            count += len(batch["valid"])
    return (time.perf_counter() - (began or 0.0)) / count if count else 0.0


def has_gpu() -> bool:
    """Say whether TensorFlow computes on a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def may_gain_by_bfloat16() -> bool:
    """Say whether bfloat16 may be faster here: on GPUs since NVIDIA's Ampere, on processors that multiply it.

    Elsewhere it is emulated, and measuring it would be time lost.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        capability = tf.config.experimental.get_device_details(gpu).get("compute_capability")
        return capability is not None and capability >= (8, 0)
    try:
        with open("/proc/cpuinfo") as file:
            flags = file.read()
    except OSError:  # not Linux
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
