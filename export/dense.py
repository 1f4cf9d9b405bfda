"""`export` of a dense target: what an encoder's export has, of the trunk as it was learned, and a signature of its own.

DIR/<version>/network.keras                uint8 [N, S, S, 3] -> a map, see `tfssl.runs.dense`
DIR/<version>/assets.extra/classes.txt     names of classes or joints, one a line, where there are any
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from tfssl.base.environment import versions
from tfssl.base.errors import UserError
from tfssl.base.words import counted
from tfssl.export.signatures.dense import dense_signatures
from tfssl.export.signatures.encoder import encoder_signatures
from tfssl.export.versions import FORMAT
from tfssl.models.trunks.pooling import embedded

if TYPE_CHECKING:
    from tfssl.export.signatures.encoder import Signature
    from tfssl.runs.dense import Dense


def check_options(folder: Path, target: str, options: dict[str, bool]) -> None:
    """Raise UserError where an option is given that is for encoders, or for files that are made of encoders."""
    given = [option for option, is_given in options.items() if is_given]
    if given:
        raise UserError(f"{given[0]} is given, but {folder} is a network for {target}, which has none; leave it out")


def networks_of(dense: "Dense") -> tuple[keras.Model, "list[Signature]"]:
    """Return the encoder of a network, the mean of its trunk's last map, and all signatures of its export."""
    network = dense.network
    body = network.get_layer("body")
    maps = body.output if isinstance(body.output, list) else [body.output]
    last = keras.Model(body.inputs[0], maps[-1], name="last")
    images = keras.Input((dense.size, dense.size, 3), dtype="uint8", name="pixels")
    encoder = keras.Model(
        images, embedded(last(network.get_layer("rescaling")(images)), name="embedding"), name="encoder"
    )
    return encoder, encoder_signatures(encoder, dense.size) + dense_signatures(network, dense.target, dense.names)


def describe(dense: "Dense", dimensions: int) -> dict[str, Any]:
    """Return what encoder.json says of the export."""
    content, chosen = dense.content, dense.result.get("chosen", {})
    headline = next(iter(chosen.get("figures", {}).items()), None)
    figure = f"; test {headline[0]} {headline[1]:.4g} of {counted(chosen['test'], 'picture')}" if headline else ""
    return {
        "format": FORMAT,
        "trunk": content["settings"]["start"],
        "layer": content["stage"],
        "pool": 1,
        "measured": {},
        "embedding": f"{content['stage']} of a network for {dense.target}, mean over all places{figure}",
        "size": dense.size,
        "dimensions": dimensions,
        "tasks": "",
        "sound": None,
        "target": dense.target,
        "names": list(dense.names),
        "versions": versions(),
        "principal_components": None,
        "l2_normalise": False,
    }
