"""Clips as a data set of TensorFlow Datasets: what `tfssl.ingest` writes and `tfssl.pipelines.sources.clips` reads."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds

from tfssl.pipelines.clips.recordings import Piece
from tfssl.pipelines.sources.clips import FORMAT


class Recording(NamedTuple):
    """One recording that was decoded: its name, its label ("" unknown) and the files of its pieces, in order."""

    name: str
    label: str
    pieces: tuple[Path, ...]


class Clips(tfds.core.GeneratorBasedBuilder):
    """Pieces of recordings: frames as JPEG with their times, mono sound with the time at which it begins."""

    VERSION = tfds.core.Version(FORMAT)
    code_path = None  # where checksums of downloads would lie; there are none

    def __init__(
        self,
        *,
        splits: Mapping[str, Sequence[Recording]],
        classes: Sequence[str],
        facts: Mapping[str, Any],
        beam: bool = False,
        **kwargs: Any,
    ):
        self._recordings, self._classes, self._facts, self._beam = splits, list(classes), dict(facts), beam
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        scalar = tfds.features.Scalar
        label = tfds.features.ClassLabel(names=self._classes) if self._classes else scalar(tf.int64)
        features = {
            "frames": tfds.features.Sequence(tfds.features.Image(encoding_format="jpeg")),
            # As bytes, like the sound: whole numbers of TensorFlow's records take up to ten bytes each.
            "thumbnails": scalar(tf.string),
            "frame_times": tfds.features.Tensor(shape=(None,), dtype=tf.float32),
            "sound": scalar(tf.string),
            "sound_start": scalar(tf.float32),
            "label": label,
            "recording": tfds.features.Text(),
            "piece": scalar(tf.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Pieces of recordings: JPEG frames with times in seconds, 16 bit mono sound on the same clock.",
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(self._facts),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        return {name: self._generate_examples(recordings) for name, recordings in self._recordings.items()}

    def _generate_examples(self, recordings: Sequence[Recording]) -> Any:
        """Pairs of key and example; with `beam` the PTransform that makes them, whose order is Beam's own."""
        examples = functools.partial(_examples, classes=self._classes)
        if not self._beam:
            return (pair for recording in recordings for pair in examples(recording))
        import apache_beam

        return apache_beam.Create(recordings) | apache_beam.Reshuffle() | apache_beam.FlatMap(examples)


def _examples(recording: Recording, classes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pieces of one recording."""
    for number, path in enumerate(recording.pieces):
        piece = Piece.read(path)
        yield (
            f"{recording.name}#{number}",
            {
                "frames": piece.frames,
                "thumbnails": piece.thumbnails.tobytes(),
                "frame_times": piece.times,
                "sound": piece.sound.astype("<i2").tobytes(),
                "sound_start": piece.sound_start,
                "label": classes.index(recording.label) if recording.label else -1,
                "recording": recording.name,
                "piece": number,
            },
        )
