"""What `finetune --target` wrote for answers at places of the picture: key points, classes, normals.

Its folder has what that of a classifier has (see `runs.classifiers`), but for:

    network.keras     uint8 [N, S, S, 3] -> a map, float32 [N, h, w, C], of Keras's own layers
    test.npz          what each test picture adds to the sums of which figures are made
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from tfssl.base.errors import UserError
from tfssl.runs.classifiers import read_record, target_of

if TYPE_CHECKING:
    import keras

NETWORK = "network.keras"


@dataclasses.dataclass(frozen=True)
class Dense:
    """A network of a dense target, of a folder that has ended or of an export.

    Attributes:
      folder: where network.keras is.
      content: what finetune.json, or encoder.json of an export, holds.
    """

    folder: Path
    content: dict[str, Any]

    @property
    def target(self) -> str:
        """The target: "keypoints", say."""
        return str(self.content["target"])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of classes or joints, () where there are none."""
        return tuple(self.content["names"])

    @property
    def size(self) -> int:
        """Pixels of a side of the pictures that it takes."""
        return int(self.content["size"])

    @property
    def data(self) -> dict[str, Any]:
        """Name and fingerprint of the pictures that it learned from, and "parts", a hash of their parts and answers."""
        return dict(self.content["data"])

    @property
    def result(self) -> dict[str, Any]:
        """What `finetune` found, {} where it has not ended."""
        path = self.folder / "result.json"
        return json.loads(path.read_text()) if path.exists() else {}

    @functools.cached_property
    def network(self) -> "keras.Model":
        """The network: uint8 [N, S, S, 3] -> a map float32 [N, h, w, C]."""
        import keras

        return keras.models.load_model(self.folder / NETWORK, compile=False)


def is_dense(folder: Any) -> TypeGuard[str | Path]:
    """Return whether a folder is one that `finetune` wrote for a dense target, ended or not."""
    return target_of(folder) not in (None, "classes")


def load_dense(folder: str | Path) -> Dense:
    """Load the network in a folder. Raise UserError where there is none, or one that has not ended."""
    content = read_record(folder)
    if not (Path(folder) / NETWORK).is_file():
        raise UserError(f"the network in {folder} has not ended; resume it with the command that began it")
    return Dense(Path(folder), content)
