"""`export` of a classifier: what an encoder's export has, of the fine-tuned encoder, and the signature `classify`.

DIR/<version>/classifier.keras             uint8 [N, S, S, 3] -> probabilities float32 [N, C]
DIR/<version>/assets.extra/classes.txt     names of the classes, one a line, in the order of the probabilities
DIR/<version>/tflite/classify_pixels_*     with labels.txt attached, as TFLite's metadata has it (a zip at the end)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from tfssl.base.environment import versions
from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.export.signatures.classifier import PIXELS, classifier_signatures
from tfssl.export.signatures.encoder import encoder_signatures
from tfssl.export.versions import FORMAT

if TYPE_CHECKING:
    from tfssl.export.signatures.encoder import Signature
    from tfssl.runs.classifiers import Classifier

CLASSES = "assets.extra/classes.txt"


def check_options(folder: Path, options: dict[str, bool]) -> None:
    """Raise UserError where an option is given that says which embedding is exported: a classifier has its own."""
    given = [option for option, is_given in options.items() if is_given]
    if given:
        raise UserError(f"{given[0]} is given, but {folder} is a classifier, whose network is fixed; leave it out")


def networks_of(classifier: "Classifier") -> tuple[dict[str, keras.Model], "list[Signature]"]:
    """Return the networks of an export by signature, "pixels" and "classify_pixels", and all its signatures."""
    network = classifier.network
    encoder = keras.Model(network.inputs[0], network.get_layer("embedding").output, name="encoder")
    signatures = encoder_signatures(encoder, classifier.size)
    signatures += classifier_signatures(network, classifier.classes, classifier.several)
    return {"pixels": encoder, PIXELS: network}, signatures


def describe(classifier: "Classifier", dimensions: int) -> dict[str, Any]:
    """Return what encoder.json says of the export."""
    content, chosen = classifier.content, classifier.result.get("chosen", {})
    figure = f"; test top-1 {100 * chosen['top1']:.1f} % of {counted(chosen['test'], 'picture')}" if chosen else ""
    return {
        "format": FORMAT,
        "trunk": content["settings"]["start"],
        "layer": content["stage"],
        "pool": 1,
        "measured": {},
        "embedding": f"{content['stage']} of a classifier of {len(classifier.classes)} classes, mean over all"
        f" places{figure}",
        "size": classifier.size,
        "dimensions": dimensions,
        "tasks": "",
        "sound": None,
        "classes": list(classifier.classes),
        "several": classifier.several,
        "versions": versions(),
        "principal_components": None,
        "l2_normalise": False,
    }


def write_classes(version: Path, classes: Sequence[str]) -> None:
    """Write the names of the classes, one a line."""
    (version / CLASSES).write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
