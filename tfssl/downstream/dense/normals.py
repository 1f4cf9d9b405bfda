"""Surface normals: which way does each surface look?"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.downstream.config import FinetuneSettings
from tfssl.downstream.dense import data
from tfssl.downstream.dense.base import Additive, AnswerReader
from tfssl.downstream.dense.data import Annotated, Read
from tfssl.downstream.dense.depth import normals_of
from tfssl.downstream.dense.toy import toy_scenes
from tfssl.export.checking.golden import as_objects
from tfssl.multitask.model import PretextModel
from tfssl.pipelines.ops.annotations import cut_maps, mirror_normals
from tfssl.pipelines.sources.regions import RegionSource, upright_sides

BIN = 0.25
"""Degrees of a bin of the histogram of angles: the thresholds are multiples of it."""
WITHIN = (11.25, 22.5, 30.0)
"""Degrees, within which shares are counted (Fouhey et al. 2013)."""
SCALE = 32767
"""A number -1 .. 1 is 1 .. 65535 in a PNG of 16 bits; three zeros are no normal."""
DEPTH, NORMALS = "depth", "normals"


@dataclasses.dataclass(frozen=True)
class Normals(Additive):
    """Which way does each surface look? x right, y up, z towards the camera.

    Answer: float32 [N, S, S, 4], a normal of length 1, and 1 where it is known. Network: float32 [N, S, S, 3], whose
    direction counts; the loss is 1 minus the cosine, as of Eigen and Fergus 2015 (arXiv 1411.4734).

    Measured by the angle over all test pixels whose normal is known: mean and median in degrees, share within 11.25,
    22.5 and 30. At the network's size, of the centred square.
    """

    name: ClassVar[str] = "normals"
    title: ClassVar[str] = "surface normals"
    headline: ClassVar[str] = "mean angle"
    lower: ClassVar[bool] = True
    unit: ClassVar[str] = "degrees"

    @classmethod
    def read(cls, place: Any, settings: FinetuneSettings) -> Read:
        """Read 'toy:images(...)', or a folder of pictures with their normals or depth.

        A folder has images/ with normals/ or depth/ beside it, the same names in both; or NAME_normals.png or
        NAME_depth.png beside NAME.jpg. Normals are PNG, (n + 1) / 2 in three colours of 8 or 16 bits, black where
        unknown; depth is PNG of 16 bits, 0 where unknown, and needs --intrinsics.
        """
        if (toy := toy_scenes(place)) is not None:
            made = zip(toy.scenes.normals, toy.scenes.mask, strict=True)
            return Read(toy.source, as_objects([encoded(*each) for each in made]), (), toy.origin)
        folder = Path(place)
        source, kind, maps = _maps_of(folder, settings.max_broken)
        answers = []
        for path, side in zip(source.paths, upright_sides(source), strict=True):
            if path not in maps:
                raise UserError(f"{path} has no {kind}; expected a PNG of the same name in {kind}/, or NAME_{kind}.png")
            read = _read_depth if kind == DEPTH else _read_normals
            answers.append(encoded(*read(maps[path], path, side, settings.intrinsics)))
        return Read(RegionSource.of(source), as_objects(answers), (), source)

    @property
    def what(self) -> str:
        return "surface normals"

    @property
    def outputs(self) -> int:
        return 3

    def answer_reader(self, part: Annotated, size: int) -> AnswerReader:
        maps = tf.constant(part.answers.tolist())

        def read(index: tf.Tensor, box: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
            pixels = cut_maps(tf.gather(maps, index), box, mirrored, size, 3, tf.uint16)
            known = tf.reduce_any(pixels > 0, -1, keepdims=True)
            normals = (tf.cast(pixels, tf.float32) - 1) / SCALE - 1
            normals = mirror_normals(tf.math.l2_normalize(normals, -1), mirrored)
            return tf.concat([tf.where(known, normals, 0.0), tf.cast(known, tf.float32)], -1)

        return read

    def answer_shape(self, model: PretextModel) -> tuple[int, int, int]:
        height, width = model.outputs[0].shape[1:3]
        return height, width, 4

    def losses(self, answers: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        known = answers[..., 3]
        # Without the largest squares of a network that begins near zero, whose direction is noise.
        cosine = tf.reduce_sum(answers[..., :3] * tf.math.l2_normalize(outputs, -1, epsilon=1e-6), -1)
        each = (1 - cosine) * known
        return tf.reduce_sum(each, [1, 2]) / tf.maximum(tf.reduce_sum(known, [1, 2]), 1.0)

    def finish(self, outputs: Any) -> Any:
        return keras.layers.UnitNormalization(axis=-1, dtype="float32", name="normals")(outputs)

    def add_up(self, answers: np.ndarray, found: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return [B, 2 + 720]: how many angles, their sum, and their histogram in bins of a quarter of a degree."""
        rows = []
        for answer, normals in zip(answers.astype(np.float64), found["normals"].astype(np.float64), strict=True):
            held = answer[..., 3] > 0
            angles = angles_between(answer[held][:, :3], normals[held])
            counts = np.bincount((angles / BIN).astype(int).clip(0, 719), minlength=720)
            rows.append(np.concatenate([[held.sum(), angles.sum()], counts]))
        return np.array(rows, np.float64)

    def as_found(self, answer: np.ndarray) -> dict[str, np.ndarray]:
        return {"normals": answer[..., :3]}

    def scores(self, sums: np.ndarray) -> np.ndarray:
        return sums[..., 1] / np.maximum(sums[..., 0], 1)

    def figures(self, sums: np.ndarray) -> dict[str, float]:
        share = np.cumsum(sums[2:]) / max(sums[0], 1)
        within = {f"within {at:g} degrees": float(share[round(at / BIN) - 1]) for at in WITHIN}
        median = BIN * (np.searchsorted(share, 0.5) + 0.5)
        return {"mean angle": float(self.scores(sums)), "median angle": float(median)} | within


def angles_between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the angle between unit vectors [N, 3], in degrees [N]."""
    return np.degrees(np.arccos(np.clip((one * other).sum(-1), -1, 1)))


def encoded(normals: np.ndarray, known: np.ndarray) -> bytes:
    """Encode normals float [H, W, 3] that are known, bool [H, W], as PNG of 16 bits."""
    whole = np.round((np.clip(normals, -1, 1) + 1) * SCALE).astype(np.uint16) + 1
    return tf.io.encode_png(np.where(known[..., None], whole, 0).astype(np.uint16)).numpy()


def _maps_of(folder: Path, max_broken: float) -> tuple[Any, str, dict[str, Path]]:
    """Return the pictures of a folder, whether their normals or their depth are there, and the file of each."""
    if (folder / "images").is_dir():
        kind = NORMALS if (folder / NORMALS).is_dir() else DEPTH
        if not (folder / kind).is_dir():
            raise UserError(f"{folder} has images/ and neither normals/ nor depth/ beside it; add one of them")
        source = data.open_pictures(folder / "images", max_broken)
        files = data.files_by_stem(folder / kind)
        stems = {path: str(Path(path).relative_to(folder / "images").with_suffix("")) for path in source.paths}
        return source, kind, {path: files[stem] for path, stem in stems.items() if stem in files}
    source = data.without_ends(data.open_pictures(folder, max_broken), (f"_{DEPTH}", f"_{NORMALS}"))
    found = {}
    for kind in (NORMALS, DEPTH):
        for path in source.paths:
            beside = Path(path).with_name(f"{Path(path).stem}_{kind}.png")
            if beside.is_file():
                found[path] = beside
        if found:
            return source, kind, found
    raise UserError(
        f"{folder} has neither normals nor depth; expected normals/ or depth/ beside images/, or NAME_depth.png beside"
        " NAME.jpg"
    )


def _read_normals(path: Path, picture: str, side: np.ndarray, intrinsics: Any) -> tuple[np.ndarray, np.ndarray]:
    content = path.read_bytes()
    try:
        pixels = tf.io.decode_png(content, 3, tf.uint16).numpy().astype(np.float64)
    except tf.errors.InvalidArgumentError as problem:
        raise UserError(f"{path} cannot be read; expected a PNG of normals, (n + 1) / 2 in three colours") from problem
    data.check_side(path, pixels.shape[1], pixels.shape[0], picture, side)
    known = pixels.any(-1)
    vectors = pixels / 65535 * 2 - 1
    length = np.linalg.norm(vectors, axis=-1)
    if not known.any() or np.median(np.abs(length[known] - 1)) > 0.2:
        raise UserError(f"{path} holds no normals: their length is not 1; expected (n + 1) / 2 in three colours")
    return vectors / np.maximum(length, 1e-9)[..., None], known & (length > 0.5)


def _read_depth(path: Path, picture: str, side: np.ndarray, intrinsics: Any) -> tuple[np.ndarray, np.ndarray]:
    image = data.read_map(path, "a PNG of 16 bits with the depth in mm")
    data.check_side(path, image.width, image.height, picture, side)
    depth = np.asarray(image)
    if depth.ndim != 2 or image.mode == "P":
        raise UserError(f"{path} has colours, expected a PNG of 16 bits with the depth in mm")
    size = f"{image.width} x {image.height} pixels"
    if len(intrinsics) != 4:
        raise UserError(f"{path} is depth, and --intrinsics are not given; give FX,FY,CX,CY of the camera, for {size}")
    if not (0 < intrinsics[2] < image.width and 0 < intrinsics[3] < image.height):
        raise UserError(
            f"--intrinsics have the centre {intrinsics[2]:g}, {intrinsics[3]:g}, which is not inside of {path.name},"
            f" {size}; where they are for larger pictures, divide them"
        )
    return normals_of(depth, intrinsics)
