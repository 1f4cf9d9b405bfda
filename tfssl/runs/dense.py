"""What `finetune --target` wrote for answers at places of the picture: key points, classes, normals, boxes.

Its folder has what that of a classifier has (see `runs.classifiers`), but for:

    network.keras     uint8 [N, S, S, 3] -> a map, float32 [N, h, w, C], of Keras's own layers; of boxes float32
                      [N, A, 1, 4 + C], with a layer of KerasHub
    test.npz          what is known of each test picture, of which figures are made
"""

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from tfssl.base.errors import UserError
from tfssl.runs.classifiers import Learned, read_record, target_of

if TYPE_CHECKING:
    import keras

NETWORK = "network.keras"


class Dense(Learned):
    """A network of a dense target, of a folder that has ended or of an export: `content` is then its encoder.json."""

    file = NETWORK

    @property
    def target(self) -> str:
        """The target: "keypoints", say."""
        return str(self.content["target"])

    @functools.cached_property
    def network(self) -> "keras.Model":
        """The network. Raise UserError where it has a layer of KerasHub, which is not installed."""
        if self.target == "detection" and importlib.util.find_spec("keras_hub") is None:
            raise UserError(
                f"{self.folder / self.file} has a layer of KerasHub, which is not installed; pip install"
                " 'tfssl[detection]'"
            )
        return super().network

    @property
    def names(self) -> tuple[str, ...]:
        """Names of classes or joints, () where there are none."""
        return tuple(self.content["names"])


def is_dense(folder: Any) -> TypeGuard[str | Path]:
    """Return whether a folder is one that `finetune` wrote for a dense target, ended or not."""
    return target_of(folder) not in (None, "classes")


def load_dense(folder: str | Path) -> Dense:
    """Load the network in a folder. Raise UserError where there is none, or one that has not ended."""
    content = read_record(folder)
    if not (Path(folder) / NETWORK).is_file():
        raise UserError(f"the network in {folder} has not ended; resume it with the command that began it")
    return Dense(Path(folder), content)
