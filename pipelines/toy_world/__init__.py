"""The embedded data: a toy world of labelled scenes that move and sound, from a seed, with numpy alone.

It stands in for photos on a machine without network. It is never called real data.
"""

from tfssl.pipelines.toy_world.motion import MOTIONS, Clip, clip
from tfssl.pipelines.toy_world.objects import CLASSES, KEY_POINTS
from tfssl.pipelines.toy_world.scenes import Scenes, scenes

__all__ = ["CLASSES", "KEY_POINTS", "MOTIONS", "Clip", "Scenes", "clip", "scenes"]
