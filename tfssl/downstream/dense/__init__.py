"""Answers at places of the picture: one file a target, one head for all."""

from tfssl.downstream.dense.base import DenseTarget
from tfssl.downstream.dense.detection import Detection
from tfssl.downstream.dense.keypoints import KeyPoints
from tfssl.downstream.dense.normals import Normals
from tfssl.downstream.dense.segmentation import Segmentation

TARGETS: dict[str, type[DenseTarget]] = {
    target.name: target for target in (KeyPoints, Segmentation, Normals, Detection)
}
