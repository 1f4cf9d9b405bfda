"""Ways to measure features, and what a network is worth that is trained on: one file each, one line here."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from tfssl.base.errors import UserError
from tfssl.base.specs import check_settings, defaults, parse_call, split_list
from tfssl.evaluation.protocols.base import Measurement, Protocol
from tfssl.evaluation.protocols.dense import DENSE
from tfssl.evaluation.protocols.effective_rank import EffectiveRank
from tfssl.evaluation.protocols.finetune import Finetune
from tfssl.evaluation.protocols.knn import NearestNeighbours
from tfssl.evaluation.protocols.linear import Linear
from tfssl.evaluation.protocols.linear_pooled import LinearPooled, LinearPooled2
from tfssl.evaluation.protocols.lowshot import LowShot
from tfssl.evaluation.protocols.scratch import Scratch
from tfssl.evaluation.protocols.semisupervised import SemiSupervised
from tfssl.evaluation.protocols.supervised import Supervised
from tfssl.evaluation.protocols.svm import SupportVectors

AnyMeasurement = TypeVar("AnyMeasurement", bound=Measurement)

_ALL: tuple[type[Measurement], ...] = (
    Linear,
    LinearPooled,
    LinearPooled2,
    NearestNeighbours,
    SupportVectors,
    LowShot,
    EffectiveRank,
    Finetune,
    Scratch,
    Supervised,
    SemiSupervised,
    *DENSE,
)
PROTOCOLS: dict[str, type[Measurement]] = {protocol.name: protocol for protocol in _ALL}
"""In the order in which figures are shown; the first that was asked for says which stage is best."""
USUAL = ("linear", "linear_pooled", "linear_pooled_2", "knn")
"""Those that are measured where none is named."""


def choose(protocols: "str | Sequence[str | Measurement] | None" = None) -> tuple[Measurement, ...]:
    """Return protocols of their names with settings, once each, in the order of `PROTOCOLS`.

    Args:
      protocols: 'linear, knn(neighbours=5)', or ('linear', 'knn(neighbours=5)'), or objects; `USUAL` where None.

    Raises:
      UserError: an unknown name or setting, a wrong value, two ranks, or no protocol at all.
    """
    given = USUAL if protocols is None else protocols
    if isinstance(given, str) and given.strip():
        given = split_list(given)
    if not given:
        raise UserError(f"no protocol was given; protocols are: {', '.join(PROTOCOLS)}")
    parsed = [each if isinstance(each, Measurement) else parse(each) for each in given]
    places = list(PROTOCOLS)
    unique = {str(one): one for each in parsed for one in each.expanded()}
    ranks = [name for name, each in unique.items() if isinstance(each, EffectiveRank)]
    if len(ranks) > 1:
        raise UserError(f"{' and '.join(ranks)} are given, expected one of them")
    return tuple(sorted(unique.values(), key=lambda each: places.index(each.name)))


def choose_probes(protocols: "str | Sequence[str | Measurement] | None" = None) -> tuple[Protocol, ...]:
    """Do what `choose` does, of protocols that name classes only. Raise UserError where one does not."""
    probes = []
    for each in choose(protocols):
        if not isinstance(each, Protocol):
            named = ", ".join(name for name, protocol in PROTOCOLS.items() if issubclass(protocol, Protocol))
            raise UserError(
                f"{each.name} names no classes by frozen features, and is of no use here; protocols here are: {named}"
            )
        probes.append(each)
    return tuple(probes)


def possible(protocols: Sequence[AnyMeasurement], labels: np.ndarray) -> tuple[AnyMeasurement, ...]:
    """Return those that training labels int [N] are enough for. Raise UserError where they are for none."""
    lacks = [each.lack(labels) if isinstance(each, Protocol) else "" for each in protocols]
    if all(lacks):
        raise UserError(f"{lacks[0]}; ask for fewer labels, or for another protocol")
    return tuple(each for each, lack in zip(protocols, lacks, strict=True) if not lack)


def parse(text: str) -> Measurement:
    """Parse one protocol from its text. Raise UserError where it is wrong."""
    name, settings = parse_call(text)
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol {name!r}; protocols are: {', '.join(PROTOCOLS)}")
    check_settings(name, settings, defaults(PROTOCOLS[name]))
    return PROTOCOLS[name](**settings)
