"""Pictures of which a square part is looked at: the centred one, or the one around a person."""

import dataclasses
from typing import Self

import numpy as np
import tensorflow as tf

from tfssl.pipelines.decoding import picture_crops, random_crops
from tfssl.pipelines.decoding.headers import Header
from tfssl.pipelines.decoding.orientation import upright_size
from tfssl.pipelines.ops.annotations import random_squares
from tfssl.pipelines.sources.pictures import PictureSource
from tfssl.pipelines.sources.source import CropReader, PictureReader


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RegionSource(PictureSource):
    """Pictures by number, and the part of each that is looked at.

    A batch of crops says where each was cut, "box" int32 [B, 4]: what is known of places in the picture has to follow.

    Attributes:
      regions: int32 [N, 4], top, left, height and width of a square in pixels of the upright picture, inside of it.
    """

    regions: np.ndarray

    per_item = (*PictureSource.per_item, "regions")

    @classmethod
    def of(cls, source: PictureSource, regions: np.ndarray | None = None) -> Self:
        """Look at parts of the pictures of a source; at their centred squares where None."""
        fields = {each.name: getattr(source, each.name) for each in dataclasses.fields(PictureSource)}
        if regions is None:
            sides = upright_sides(source)
            regions = random_crops.centre_box(tf.constant(sides[:, 0]), tf.constant(sides[:, 1])).numpy()
        return cls(**fields, regions=np.asarray(regions, np.int32))

    def crop_reader(self, size: int, memory: int, reflect: bool, verbose: int) -> CropReader:
        """Make what reads random squares within the regions; they are decoded anew each time."""
        reader, regions = self.reader(), tf.constant(self.regions)

        def read(index: tf.Tensor, seed: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            rows, header = reader.rows(index)
            box = random_squares(tf.gather(regions, index), seed)
            images, valid = picture_crops.decode_boxes(reader.read, rows, header, box, size, kinds=reader.kinds)
            return {"image": tf.ensure_shape(images, [None, size, size, 3]), "box": box}, valid

        return read

    def picture_reader(self, size: int, at: float) -> PictureReader:
        reader, regions = self.reader(), tf.constant(self.regions)

        def read(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows, header = reader.rows(index)
            boxes = tf.gather(regions, index)
            return picture_crops.decode_boxes(reader.read, rows, header, boxes, size, kinds=reader.kinds)

        return read


def upright_sides(source: PictureSource) -> np.ndarray:
    """Return height and width of each picture as it is meant to be seen, int32 [N, 2]."""
    header = Header(*(tf.constant(column) for column in source.header.T))
    return np.stack([side.numpy() for side in upright_size(header)], 1)
