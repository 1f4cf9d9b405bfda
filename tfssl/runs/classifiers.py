"""A classifier is a folder that `finetune` wrote: its settings, the network, what it was measured at.

What lies in it:

    finetune.json     settings, classes, fingerprint of the data, versions
    candidates/       a folder each: metrics.jsonl, tensorboard/, validation.jsonl, result.json; until all have ended
                      checkpoints/ or best.npz
    refit/            the same of the chosen one, learned with the validation part too
    metrics.jsonl     that of the candidate that was chosen
    classifier.keras  uint8 [N, S, S, 3] -> probabilities float32 [N, classes], of Keras's own layers
    test.npz          probabilities and answers of the test pictures
    chosen.json       candidates, which was chosen, temperature, figures
    beside/           folders like this one without the network: what it was compared with, other draws of labels
    result.json       what all ended with
    report.html       all this on one page
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard

from tfssl.base.errors import UserError
from tfssl.base.files import check_format

if TYPE_CHECKING:
    import keras

FORMAT = 1
"""Format of finetune.json. Raise it when older versions cannot read what is written."""
RECORD = "finetune.json"
NETWORK = "classifier.keras"


@dataclasses.dataclass(frozen=True)
class Learned:
    """A folder that `finetune` wrote, of any target, and that has ended.

    Attributes:
      file: (of the class) the name of the network's file.
      folder: where it is.
      content: what finetune.json holds.
    """

    file: ClassVar[str]
    folder: Path
    content: dict[str, Any]

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
        """The network: uint8 [N, S, S, 3] -> its answers, as the head of the module says."""
        import keras

        return keras.models.load_model(self.folder / self.file, compile=False)


class Classifier(Learned):
    """A classifier: its network answers with probabilities, float32 [N, classes]."""

    file = NETWORK

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return tuple(self.content["classes"])

    @property
    def several(self) -> bool:
        """Whether a picture may have several labels: then each class has a probability of its own."""
        return bool(self.content["several"])


def target_of(folder: Any) -> str | None:
    """Return what the network in a folder learned, as of `--target`; None where `finetune` wrote none."""
    if not isinstance(folder, (str, Path)) or not (Path(folder) / RECORD).is_file():
        return None
    return str(read_record(folder).get("target", "classes"))


def is_classifier(folder: Any) -> TypeGuard[str | Path]:
    """Return whether a folder is one that `finetune` wrote for classes, ended or not."""
    return target_of(folder) == "classes"


def read_record(folder: str | Path) -> dict[str, Any]:
    """Read finetune.json. Raise UserError where there is none, or it cannot be read."""
    path = Path(folder) / RECORD
    if not path.is_file():
        raise UserError(f"{folder} is no classifier (it has no {RECORD}); expected what finetune was given as --out")
    try:
        content = json.loads(path.read_text())
    except ValueError as problem:
        raise UserError(f"{path} cannot be read ({problem}); the classifier cannot be used") from problem
    check_format(path, content, FORMAT)
    return content


def load_classifier(folder: str | Path) -> Classifier:
    """Load the classifier in a folder. Raise UserError where there is none, or one that has not ended."""
    content = read_record(folder)
    if (target := content.get("target", "classes")) != "classes":
        raise UserError(f"{folder} holds a network for {target}, no classifier; give one that has classes")
    if not (Path(folder) / NETWORK).is_file():
        raise UserError(f"the classifier in {folder} has not ended; resume it with the command that began it")
    return Classifier(Path(folder), content)
