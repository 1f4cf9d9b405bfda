"""Sources of clips: records that `tfssl.ingest` wrote, found by number; and clips of the toy world, in memory."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base import specs
from tfssl.base.errors import UserError
from tfssl.pipelines.clips import clip_records
from tfssl.pipelines.clips.recordings import THUMBNAIL
from tfssl.pipelines.decoding import picture_crops
from tfssl.pipelines.sources.tfrecords import index_records, read_record

FORMAT = "1.1.0"
"""Version of the records that `tfssl.ingest` writes."""
TOY_RATE, TOY_SOUND_RATE, TOY_QUALITY = 12.5, 16000, 95


@dataclasses.dataclass(frozen=True, eq=False)
class ClipSource:
    """Clips by number.

    Attributes:
      name: what the user called it.
      paths: "RECORDING#piece" of each.
      recordings: of each, the recording that it is a piece of.
      origins: of each, what its recording is of: the source that `ingest --groups` found, else the recording itself.
      labels: int32 [N], index into `classes`, -1 unknown; None without any.
      classes: names of the classes.
      broken: recordings that were left out when the data set was made: name -> what is wrong.
      listed: how many there were, broken ones included.
      fingerprint: hash that tells whether the data is still the same.
      frame_rate: frames a second, as made.
      sound_rate: hertz; 0 where no clip has sound.
      frame_counts: int32 [N].
      seconds: float32 [N], from the first frame to the end of the last, or the sound's length where there is none.
      has_sound: bool [N].
      contents: int64 [N], hash of what is seen and heard: the same of equal clips, whatever they are called.
      files: of records.
      places: int64 [N, 3] into `files`, see `records.index_records`; None where `encoded` is given.
      encoded: the records, in memory, or None.
    """

    name: str
    paths: list[str]
    recordings: list[str]
    origins: list[str]
    labels: np.ndarray | None
    classes: tuple[str, ...]
    broken: dict[str, str]
    listed: int
    fingerprint: str
    frame_rate: float
    sound_rate: int
    frame_counts: np.ndarray
    seconds: np.ndarray
    has_sound: np.ndarray
    contents: np.ndarray
    files: tuple[str, ...] = ()
    places: np.ndarray | None = None
    encoded: list[bytes] | None = None
    items = "clips"

    @property
    def count(self) -> int:
        """How many clips there are."""
        return len(self.paths)

    @property
    def groups(self) -> np.ndarray:
        """int [N]: clips of one number have one origin, and must not be divided."""
        return np.unique(self.origins, return_inverse=True)[1]

    @property
    def holds(self) -> tuple[str, ...]:
        """What tasks may read of it."""
        frames = ("image", "clip") if self.frame_counts.any() else ()
        return (*frames, *(("sound",) if self.has_sound.any() else ()))

    def subset(self, numbers: np.ndarray, name: str) -> "ClipSource":
        """The clips of these numbers as a source of its own."""

        def chosen(values: Any) -> Any:
            if values is None:
                return None
            return values[numbers] if isinstance(values, np.ndarray) else [values[i] for i in numbers]

        each = ["paths", "recordings", "origins", "labels", "frame_counts", "seconds", "has_sound", "contents"]
        each += ["places", "encoded"]
        digest = hashlib.sha256(self.fingerprint.encode() + np.asarray(numbers, np.int64).tobytes()).hexdigest()
        parts = {key: chosen(getattr(self, key)) for key in each}
        return dataclasses.replace(self, name=name, fingerprint=digest, **parts)

    def reader(self) -> "ClipReader":
        """What reads it in the graph."""
        return ClipReader(self)


class ClipReader:
    """Records of a source by number, in the graph."""

    def __init__(self, source: ClipSource):
        self._in_memory = source.encoded is not None
        with tf.device("CPU"):
            if self._in_memory:
                self._records = tf.constant(source.encoded)
            else:
                self._files, self._places = tf.constant(source.files), tf.constant(source.places)

    def records(self, index: tf.Tensor) -> tf.Tensor:
        """index int64 [B], one or more -> records string [B]. Raises in the graph where a file cannot be read."""
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


def is_ingested(folder: Path) -> bool:
    """Whether a folder holds clips that `tfssl.ingest` prepared."""
    return _version(folder) is not None


def open_ingested(folder: Path, split: str | None) -> ClipSource:
    """The clips that `tfssl.ingest` wrote to a folder, of one split ("train", "test") or of all.

    Raises:
      UserError: no such split, a file that is missing or cut off.
    """
    version = _version(folder)
    if version is None:
        raise UserError(f"{folder} holds no clips; expected the folder given to `tfssl ingest` as --to")
    info = json.loads((version / "dataset_info.json").read_text())
    if info["version"] != FORMAT:
        raise UserError(
            f"{folder} holds clips of version {info['version']}, this tfssl reads {FORMAT}; run `tfssl ingest` again"
        )
    facts = _metadata(version)
    names = [each["name"] for each in info["splits"] if sum(map(int, each["shardLengths"]))]
    if split is not None and split not in names:
        raise UserError(f"{folder} has no clips in a split {split!r}; its splits are: {', '.join(names)}")
    files = []
    for each in info["splits"]:
        if each["name"] in names and split in (None, each["name"]):
            shards = len(each["shardLengths"])
            files += [
                version / f"{info['name']}-{each['name']}.tfrecord-{shard:05d}-of-{shards:05d}"
                for shard in range(shards)
            ]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UserError(f"{missing[0]} is missing; make the data set anew by `tfssl ingest`")
    places = index_records(files)
    label = version / "label.labels.txt"
    classes = tuple(label.read_text().split("\n")[:-1]) if label.exists() else ()
    name = f"{folder}:{split}" if split else str(folder)
    digest = hashlib.sha256("".join(f"{file.name} {file.stat().st_size}\n" for file in files).encode())
    digest.update(places.tobytes())
    return _source(
        name,
        _facts([str(file) for file in files], places, None, facts["sound_rate"]),
        classes,
        frame_rate=float(facts["frame_rate"]),
        sound_rate=int(facts["sound_rate"]),
        fingerprint=digest.hexdigest(),
        broken=dict(facts.get("broken", {})),
        group_of=facts.get("groups", {}),
        files=tuple(map(str, files)),
        places=places,
    )


def open_toy_clips(text: str) -> ClipSource:
    """'toy:clips(count=200, size=64, seconds=2.0, seed=0, start=0)': the toy world's clips, in memory.

    Raises:
      UserError: an unknown setting, or one out of range.
    """
    from tfssl.pipelines.toy_world import CLASSES

    known = {"count": 200, "size": 64, "seconds": 2.0, "seed": 0, "start": 0}
    _, given = specs.parse_call(text.removeprefix("toy:"))
    specs.check_settings("toy:clips", given, known)
    values = known | given
    if values["count"] < 1 or values["size"] < 16 or not values["seconds"] > 0:
        raise UserError(f"{text}: expected a count of at least 1, a size of at least 16 pixels, more than 0 seconds")
    encoded = list(_toy_records(**values))
    digest = hashlib.sha256(b"".join(hashlib.sha256(record).digest() for record in encoded)).hexdigest()
    facts = _facts([], None, encoded, TOY_SOUND_RATE)
    return _source(
        text,
        facts,
        CLASSES,
        frame_rate=TOY_RATE,
        sound_rate=TOY_SOUND_RATE,
        fingerprint=digest,
        broken={},
        encoded=encoded,
    )


@functools.lru_cache(maxsize=4)
def _toy_records(count: int, size: int, seconds: float, seed: int, start: int) -> tuple[bytes, ...]:
    drawn = functools.partial(_toy_clip, size=size, seconds=seconds, seed=seed)
    return tuple(_encoded(drawn(number), number) for number in range(start, start + count))


def _toy_clip(number: int, size: int, seconds: float, seed: int) -> Any:
    from tfssl.pipelines.toy_world import clip

    return clip(number, seed=seed, seconds=seconds, rate=TOY_RATE, size=size, sample_rate=TOY_SOUND_RATE)


def _encoded(clip: Any, number: int) -> bytes:
    frames = [tf.io.encode_jpeg(frame, quality=TOY_QUALITY, chroma_downsampling=False).numpy() for frame in clip.frames]
    small = tf.image.resize(clip.frames, [THUMBNAIL, THUMBNAIL], "area").numpy().round().astype(np.uint8)
    times = np.arange(len(frames), dtype=np.float32) / TOY_RATE
    sound = np.round(np.clip(clip.sound, -1, 1) * 32767).astype("<i2").tobytes()
    return make_record(frames, small, times, sound, 0.0, int(clip.label), f"toy#{number}", 0)


def make_record(
    frames: list[bytes],
    thumbnails: np.ndarray,
    times: Any,
    sound: bytes,
    sound_start: float,
    label: int,
    recording: str,
    piece: int,
) -> bytes:
    """A record as TensorFlow Datasets writes it with the features of `tfssl.ingest`."""

    def of_bytes(values: list[bytes]) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    def of_floats(values: Any) -> tf.train.Feature:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    def of_ints(values: Any) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    feature = {
        "frames": of_bytes(frames),
        "thumbnails": of_bytes([thumbnails.tobytes()]),
        "frame_times": of_floats(times),
        "sound": of_bytes([sound]),
        "sound_start": of_floats([sound_start]),
        "label": of_ints([label]),
        "recording": of_bytes([recording.encode()]),
        "piece": of_ints([piece]),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _version(folder: Path) -> Path | None:
    """The folder of the data set's version, which TensorFlow Datasets puts below its name: DIR/clips/1.0.0."""
    found = [
        path.parent for pattern in ("", "*/", "*/*/") for path in sorted(folder.glob(f"{pattern}dataset_info.json"))
    ]
    return found[-1] if found else None


def _metadata(version: Path) -> dict[str, Any]:
    path = version / "metadata.json"
    if not path.is_file():
        raise UserError(f"{version} has no metadata.json; expected clips that `tfssl ingest` prepared")
    return json.loads(path.read_text())


def _facts(
    files: list[str], places: np.ndarray | None, encoded: list[bytes] | None, rate: int
) -> dict[str, np.ndarray]:
    """What is known of each record without decoding: read once, in order, by TensorFlow's own threads."""
    known = {
        "frame_times": tf.io.RaggedFeature(tf.float32),
        "thumbnails": tf.io.FixedLenFeature([], tf.string, ""),
        "sound": tf.io.FixedLenFeature([], tf.string, ""),
        "label": tf.io.FixedLenFeature([], tf.int64, -1),
        "recording": tf.io.FixedLenFeature([], tf.string, ""),
        "piece": tf.io.FixedLenFeature([], tf.int64, 0),
    }

    def facts(record: tf.Tensor) -> dict[str, tf.Tensor]:
        found = tf.io.parse_single_example(record, known)
        times = found["frame_times"]
        count = tf.size(times)
        seen = tf.cond(count > 0, lambda: times[-1] - times[0], lambda: 0.0)
        heard = tf.cast(tf.strings.length(found["sound"]) // 2, tf.float32) / max(rate, 1)
        return {
            "frames": count,
            "seconds": tf.where(count > 1, seen, heard),
            "has_sound": tf.strings.length(found["sound"]) > 0,
            # Thumbnails, of all frames, tell frames apart well enough, and are a hundredth of them.
            "contents": tf.strings.to_hash_bucket_fast(found["thumbnails"] + found["sound"], 2**63 - 1),
            **{key: found[key] for key in ("label", "recording", "piece")},
        }

    dataset = tf.data.TFRecordDataset(files) if encoded is None else tf.data.Dataset.from_tensor_slices(encoded)
    rows = list(dataset.map(facts, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).as_numpy_iterator())
    return {key: np.asarray([row[key] for row in rows]) for key in rows[0]} if rows else {}


def _source(
    name: str,
    facts: dict[str, np.ndarray],
    classes: tuple[str, ...],
    group_of: Mapping[str, str] | None = None,
    **rest: Any,
) -> ClipSource:
    if not facts:
        raise UserError(f"no clip in {name}; expected at least one")
    recordings = [value.decode() for value in facts["recording"]]
    labels = facts["label"].astype(np.int32)
    return ClipSource(
        name=name,
        paths=[f"{recording}#{piece}" for recording, piece in zip(recordings, facts["piece"], strict=True)],
        recordings=recordings,
        origins=[(group_of or {}).get(recording, recording) for recording in recordings],
        labels=labels if (labels >= 0).any() else None,
        classes=classes if (labels >= 0).any() else (),
        listed=len(recordings) + len(rest["broken"]),
        frame_counts=facts["frames"].astype(np.int32),
        seconds=facts["seconds"].astype(np.float32),
        has_sound=facts["has_sound"],
        contents=facts["contents"],
        **rest,
    )
