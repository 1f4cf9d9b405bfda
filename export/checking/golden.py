"""Golden vectors: inputs with their answers, computed outside of the SavedModel, that travel with it."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.export.signatures import limits, words
from tfssl.export.signatures.encoder import Signature
from tfssl.export.signatures.heads import INPUTS
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import AnySource, open_source

COUNT = 12
NO_PICTURE = b"this is no picture"
"""The last of the pictures: what is no picture must be marked as such, and leave its neighbours alone."""
ENDS, SHAPE = ":ends", ":shape"


@dataclasses.dataclass(frozen=True)
class Golden:
    """Inputs and outputs of the signatures of an export.

    Attributes:
      inputs: by name: "image_bytes", N pictures, bytes in an array of objects; "pixels" uint8 [N, S, S, 3], zeros where
        a picture is none; "waveform" float32 [M, samples], where there is a sound encoder. Of a table of words "words"
        and "sentences", bytes in arrays of objects, and "numbers" int32 [N].
      answers: signature -> output -> its rows; those of `colorize` are bytes in an array of objects.
    """

    inputs: dict[str, np.ndarray]
    answers: dict[str, dict[str, np.ndarray]]

    def arguments(self, signature: str) -> dict[str, np.ndarray]:
        """Return the inputs of a signature, by name: as many rows as it has answers."""
        count = len(next(iter(self.answers[signature].values())))
        names = INPUTS[signature]
        if not set(names) <= set(self.inputs):  # `serving_default` of a table of words takes these
            names = words.INPUTS[signature]
        return {name: self.inputs[name][:count] for name in names}

    def write(self, path: Any) -> None:
        """Write an .npz without pickles: bytes are joined to uint8, and NAME:ends says where each ends.

        Where they have several dimensions NAME:shape says which.
        """
        arrays = {f"inputs/{name}": rows for name, rows in self.inputs.items()}
        for signature, outputs in self.answers.items():
            arrays |= {f"answers/{signature}/{name}": rows for name, rows in outputs.items()}
        for name in [name for name, rows in arrays.items() if rows.dtype == object]:
            rows = arrays[name]
            if rows.ndim > 1:
                arrays[name + SHAPE] = np.array(rows.shape)
            arrays[name + ENDS] = np.cumsum([len(row) for row in rows.flat])
            arrays[name] = np.frombuffer(b"".join(rows.flat), np.uint8)
        np.savez(path, **arrays)  # type: ignore[arg-type]


def read_golden(path: Any) -> Golden:
    """Invert `Golden.write`. Raise OSError, ValueError or KeyError where it is not readable."""
    golden = Golden({}, {})
    with np.load(path) as file:
        for key in file:
            if key.endswith((ENDS, SHAPE)):
                continue
            rows = file[key]
            if key + ENDS in file:
                rows = as_objects([part.tobytes() for part in np.split(rows, file[key + ENDS][:-1])])
                rows = rows.reshape(file[key + SHAPE]) if key + SHAPE in file else rows
            kind, *names = key.split("/")
            if kind == "inputs":
                golden.inputs[names[0]] = rows
            elif kind == "answers":
                golden.answers.setdefault(names[0], {})[names[1]] = rows
    if not golden.answers:
        raise ValueError("it is of another version of tfssl")
    return golden


def as_objects(rows: Sequence[bytes]) -> np.ndarray:
    """Return bytes as an array of objects [N]: NumPy's own strings lose zeros at their end."""
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


def own_source(data: Mapping[str, Any]) -> AnySource | None:
    """Open the source that a run learned from, by name, if it is still the same; else return None and log why."""
    try:
        source = open_source(data["name"], max_broken=1.0)
        # A name alone does not do: that of a data set made in Python may be some folder here.
        if source.fingerprint == data["fingerprint"]:
            return source
        problem = "has changed since"
    except (UserError, OSError):
        problem = "cannot be opened"
    logging.getLogger("tfssl").warning(
        "%s, which the run learned from, %s: the toy world stands in", data["name"], problem
    )
    return None


def make_golden(
    signatures: Sequence[Signature], source: AnySource | None, texts: Mapping[str, Sequence[bytes]] | None = None
) -> Golden:
    """Make a dozen inputs of each kind, and what the signatures answer before they are traced and saved.

    Networks answer op by op; pictures are decoded by the graph that is saved.

    Args:
      signatures: that take some of the inputs which `Golden` knows.
      source: the source of the pictures and sounds; the toy world where None.
      texts: "words" and "sentences" of a table of words.
    """
    specs = {spec.name: spec for signature in signatures for spec in signature.inputs}
    inputs = {name: as_objects(rows) for name, rows in (texts or {}).items()}
    if "numbers" in specs:
        inputs["numbers"] = np.arange(COUNT, dtype=np.int32)
    if "image_bytes" in specs or "pixels" in specs:
        encoded = inputs["image_bytes"] = as_objects([*_some_pictures(source, COUNT - 1), NO_PICTURE])
    if "pixels" in specs:
        inputs["pixels"] = limits.decoder(specs["pixels"].shape[1])(tf.constant(encoded))[0].numpy()
    if "waveform" in specs:
        inputs["waveform"] = _some_sounds(source, specs["waveform"].shape[1], COUNT)
    answers = {}
    for signature in signatures:
        count = min(len(inputs[spec.name]) for spec in signature.inputs)
        given = [tf.constant(inputs[spec.name][:count]) for spec in signature.inputs]
        answers[signature.name] = {name: rows.numpy() for name, rows in signature.function(*given).items()}
    return Golden(inputs, answers)


def _some_pictures(source: AnySource | None, count: int) -> list[bytes]:
    """Read encoded pictures, spread over a source; small files are preferred, as they travel with the model."""
    pictures = _read(source, count) if source is not None else []
    return pictures or _read(open_source(f"toy:images(count={count})"), count)


def _some_sounds(source: AnySource | None, samples: int, count: int) -> np.ndarray:
    """Read waveforms float32 [count or fewer, samples] of a source of clips."""
    if source is None or not source.has_sound.any():
        source = open_source(f"toy:clips(count={count}, size=16)")
    return next(iter(batches.plain_sound(source, samples, count)))["sound"].numpy()


def _read(source: AnySource, count: int) -> list[bytes]:
    numbers = np.unique(np.linspace(0, source.count - 1, 4 * count).round().astype(int))
    return sorted(source.encoded_pictures(numbers), key=len)[:count]
