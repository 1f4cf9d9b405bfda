"""Clips as a data set of TensorFlow Datasets: what `tfssl.ingest` writes and `sources.ingested` reads."""

import contextlib
import functools
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds

from tfssl.base.files import write_errors
from tfssl.pipelines.clips import record
from tfssl.pipelines.clips.recordings import Piece


class Recording(NamedTuple):
    """One recording that was decoded: its name, its label ("" unknown) and the files of its pieces, in order."""

    name: str
    label: str
    pieces: tuple[Path, ...]


class Clips(tfds.core.GeneratorBasedBuilder):
    """Pieces of recordings: frames as JPEG with their times, mono sound with the time at which it begins."""

    VERSION = tfds.core.Version(record.FORMAT)
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
        features = {
            name: tfds.features.Scalar(field.dtype)
            if field.missing is not None
            else tfds.features.Tensor(shape=(None,), dtype=field.dtype)
            for name, field in record.FIELDS.items()
        }
        features["frames"] = tfds.features.Sequence(tfds.features.Image(encoding_format="jpeg"))
        features["recording"] = tfds.features.Text()
        if self._classes:
            features["label"] = tfds.features.ClassLabel(names=self._classes)
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
        """Return pairs of key and example; with `beam` the PTransform that makes them, whose order is Beam's own."""
        examples = functools.partial(_examples, classes=self._classes)
        if not self._beam:
            return (pair for recording in recordings for pair in examples(recording))
        import apache_beam

        return apache_beam.Create(recordings) | apache_beam.Reshuffle() | apache_beam.FlatMap(examples)


def _examples(recording: Recording, classes: list[str]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the pieces of one recording."""
    for number, path in enumerate(recording.pieces):
        label = classes.index(recording.label) if recording.label else -1
        key = os.fsencode(f"{recording.name}#{number}")  # a name need not be UTF-8
        yield key, record.of_piece(Piece.read(path), label, recording.name, number)


def write_data_set(
    out: Path,
    splits: dict[str, list[str]],
    pieces: dict[str, tuple[Path, ...]],
    label_of: dict[str, str],
    facts: dict[str, Any],
    options: Any,
) -> None:
    """Write the records beside, and move them into place when they are whole.

    Args:
      out: folder of the data set.
      splits: names of recordings by split.
      pieces: the files of the pieces of each recording.
      label_of: the label of each recording, "" unknown.
      facts: what is kept beside the records, as JSON.
      options: the options of Apache Beam, which then writes; None to write here.
    """
    classes = sorted({label_of[name] for names in splits.values() for name in names} - {""})
    listed = {
        split: [Recording(name.replace(os.sep, "/"), label_of[name], pieces[name]) for name in names]
        for split, names in splits.items()
    }
    with write_errors(out), tempfile.TemporaryDirectory(dir=out, prefix=".") as building:
        builder = Clips(splits=listed, classes=classes, facts=facts, beam=options is not None, data_dir=building)
        # Without a runner of its own TensorFlow Datasets takes the one that the options name.
        download = None if options is None else tfds.download.DownloadConfig(beam_options=options)
        tfds.disable_progress_bar()
        with contextlib.redirect_stdout(io.StringIO()):  # it says where it writes, a name that is gone when it ends
            builder.download_and_prepare(download_config=download)
        (Path(building) / "clips").rename(out / "clips")
