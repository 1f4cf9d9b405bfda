"""Clips by number: records of pieces of recordings, in files or in memory, and how they are read in the graph."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.explicit import explicit
from tfssl.pipelines.clips import clip_records, record
from tfssl.pipelines.clips.clip_records import Clip
from tfssl.pipelines.decoding import picture_crops
from tfssl.pipelines.sources.source import AnySource, CropReader, PictureReader, SoundReader
from tfssl.pipelines.sources.tfrecords import read_record

NO_SEED = (0, 0)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClipSource(AnySource):
    """Clips by number.

    Attributes:
      paths: "RECORDING#piece" of each.
      recordings: for each, the recording that it is a piece of.
      origins: for each, what its recording is of: the source that `ingest --groups` found, else the recording itself.
      seconds: from the first frame to the end of the last, or the sound's length where there is none.
      contents: int64 [N], of what is seen and heard.
      files: files of records.
      places: int64 [N, 3] into `files`, see `tfrecords.index_records`; None where `encoded` is given.
      encoded: the records, in memory, or None.
    """

    recordings: list[str]
    origins: list[str]
    files: tuple[str, ...] = ()
    places: np.ndarray | None = None

    items = "clips"
    unit = "recording"
    moving = True
    may_break = False  # `ingest` has left out what is broken
    per_item = (*AnySource.per_item, "recordings", "origins", "places")

    @property
    def groups(self) -> np.ndarray:
        """int [N]: clips of one number have one origin."""
        return np.unique(self.origins, return_inverse=True)[1]

    @property
    def holds(self) -> tuple[str, ...]:
        frames = ("image", "clip") if self.frame_counts.any() else ()
        return (*frames, *(("sound",) if self.has_sound.any() else ()))

    def reader(self) -> "ClipReader":
        """Make what reads its records in the graph."""
        return ClipReader(self)

    def crop_reader(self, size: int, memory: int, reflect: bool, verbose: int) -> CropReader:
        """Make what gives a crop of a random frame of each, "image", and its record, "clip".

        Nothing is kept decoded.
        """
        reader = self.reader()

        def read(index: tf.Tensor, seed: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            records = reader.records(index)
            given = clip_records.parse(records)

            def frame(number: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                place_seed, crop_seed = tf.unstack(tf.random.split(seed, 2))
                clip = given[number]
                place = tf.random.stateless_uniform([], place_seed, maxval=tf.maximum(clip.count, 1), dtype=tf.int32)
                return _decode(clip, place, size, crop_seed)

            images, valid = clip_records.over_rows(clip_records.rows(index), seed, frame)
            return {"image": images, "clip": records}, valid

        return read

    def picture_reader(self, size: int, at: float) -> PictureReader:
        reader = self.reader()

        def read(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            given = clip_records.parse(reader.records(index))

            def frame(number: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                del seed
                place = tf.cast(at * tf.cast(given[number].count, tf.float32), tf.int32)
                return _decode(given[number], place, size, None)

            return clip_records.over_rows(clip_records.rows(index), tf.constant(NO_SEED), frame)

        return read

    def sound_reader(self, samples: int) -> SoundReader:
        if not self.has_sound.any():
            return super().sound_reader(samples)
        reader = self.reader()

        def read(index: tf.Tensor) -> tf.Tensor:
            given = clip_records.parse(reader.records(index))

            def middle(number: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
                del seed
                clip = given[number]
                length = tf.cast(clip.samples, tf.float32) / self.sound_rate
                begin = clip.sound_start + tf.maximum(length - samples / self.sound_rate, 0.0) / 2
                return clip_records.waveform(clip.sound, clip.sound_start, begin, samples, self.sound_rate)

            return clip_records.over_rows(clip_records.rows(index), tf.constant(NO_SEED), middle)

        return read

    def encoded_pictures(self, numbers: Sequence[int] | np.ndarray) -> list[bytes]:
        given = clip_records.parse(self.reader().records(tf.constant(numbers, tf.int64)))
        clips = [given[place] for place in range(len(numbers))]
        return [clip.frames(clip.count // 2).numpy() for clip in clips if clip.count]


class ClipReader:
    """Records of a source by number, in the graph."""

    def __init__(self, source: ClipSource):
        self._in_memory = source.encoded is not None
        with tf.device("CPU"):
            if self._in_memory:
                self._records = tf.constant(source.encoded)
            else:
                self._files, self._places = (
                    tf.constant(list(map(os.fsencode, source.files))),
                    tf.constant(source.places),
                )

    def records(self, index: tf.Tensor) -> tf.Tensor:
        """Read the records string [B] of one or more numbers, int64 [B].

        Raise in the graph where a file cannot be read.
        """
        if self._in_memory:
            return tf.gather(self._records, index)
        places = tf.gather(self._places, index)
        rows = tf.data.Dataset.from_tensor_slices((tf.gather(self._files, places[:, 0]), places))
        # Not by map_fn: it copies each record, of a megabyte, once more, and reads half as many.
        records = rows.map(
            lambda file, place: read_record(file, place[1], place[2]),
            num_parallel_calls=clip_records.PARALLEL,
            deterministic=True,
        ).batch(tf.size(index, tf.int64))
        return tf.ensure_shape(picture_crops.made_for_a_batch(records).get_single_element(), index.shape)


def _decode(clip: Clip, place: tf.Tensor, size: int, seed: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode frame `place` of a clip: uint8 [size, size, 3], and whether there is any; black where there is none."""

    def decode() -> tf.Tensor:
        return clip_records.decode_frames(clip.frames(place)[None], size, seed)[0]

    some = clip.count > 0
    picture = tf.cond(some, decode, lambda: tf.zeros([size, size, 3], tf.uint8))
    return tf.ensure_shape(picture, [size, size, 3]), some


def open_records(
    name: str,
    classes: tuple[str, ...],
    *,
    frame_rate: float,
    sound_rate: int,
    fingerprint: str,
    group_of: Mapping[str, str] | None = None,
    files: Sequence[str] = (),
    places: np.ndarray | None = None,
    encoded: list[bytes] | None = None,
) -> ClipSource:
    """Open all records of files, or of those in memory, as a source: what is known of each is read once.

    Args:
      name, frame_rate, sound_rate, fingerprint, files, places, encoded: as `ClipSource` has them.
      classes: names of the labels that records have.
      group_of: recording -> origin, where that is not the recording itself.

    Raises:
      UserError: no record.
    """
    facts = _facts(files, encoded, sound_rate)
    if not facts:
        raise UserError(f"no clip in {name}; expected at least one")
    recordings = [os.fsdecode(value) for value in facts["recording"]]
    labels = facts["label"].astype(np.int32)
    return ClipSource(
        name=name,
        paths=[f"{recording}#{piece}" for recording, piece in zip(recordings, facts["piece"], strict=True)],
        recordings=recordings,
        origins=[(group_of or {}).get(recording, recording) for recording in recordings],
        labels=labels if (labels >= 0).any() else None,
        classes=classes if (labels >= 0).any() else (),
        broken={},  # what `ingest` left out it has said; here it is not listed either
        listed=len(recordings),
        fingerprint=fingerprint,
        frame_rate=frame_rate,
        sound_rate=sound_rate,
        frame_counts=facts["frames"].astype(np.int32),
        seconds=facts["seconds"].astype(np.float32),
        has_sound=facts["has_sound"],
        contents=facts["contents"],
        files=tuple(files),
        places=places,
        encoded=encoded,
    )


def _facts(files: Sequence[str], encoded: list[bytes] | None, sample_rate: int) -> dict[str, np.ndarray]:
    """Read what is known of each record without decoding: once, in order, by TensorFlow's own threads."""
    known = record.features("frame_times", "thumbnails", "sound", "label", "recording", "piece")

    @explicit
    def facts(each: tf.Tensor) -> dict[str, tf.Tensor]:
        fields = tf.io.parse_single_example(each, known)
        times = fields["frame_times"]
        count = tf.size(times)
        seen = tf.cond(count > 0, lambda: times[-1] - times[0], lambda: 0.0)
        heard = tf.cast(tf.strings.length(fields["sound"]) // 2, tf.float32) / max(sample_rate, 1)
        return {
            "frames": count,
            "seconds": tf.where(count > 1, seen, heard),
            "has_sound": tf.strings.length(fields["sound"]) > 0,
            # Thumbnails, of all frames, tell frames apart well enough, and are a hundredth of them.
            "contents": tf.strings.to_hash_bucket_fast(fields["thumbnails"] + fields["sound"], 2**63 - 1),
            **{key: fields[key] for key in ("label", "recording", "piece")},
        }

    if encoded is None:
        dataset = tf.data.TFRecordDataset(list(map(os.fsencode, files)))
    else:
        dataset = tf.data.Dataset.from_tensor_slices(encoded)
    mapped = dataset.map(facts, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    rows = list(mapped.as_numpy_iterator())
    return {key: np.asarray([row[key] for row in rows]) for key in rows[0]} if rows else {}
