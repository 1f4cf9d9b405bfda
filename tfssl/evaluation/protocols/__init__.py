"""Ways to measure features: one file a protocol, one line here."""

from collections.abc import Sequence

from tfssl.base.errors import UserError
from tfssl.evaluation.protocols.base import Protocol
from tfssl.evaluation.protocols.knn import NearestNeighbours
from tfssl.evaluation.protocols.linear import Linear
from tfssl.evaluation.protocols.linear_pooled import LinearPooled, LinearPooled2

PROTOCOLS: dict[str, type[Protocol]] = {
    protocol.name: protocol for protocol in (Linear, LinearPooled, LinearPooled2, NearestNeighbours)
}
"""In the order in which figures are shown; the first that was asked for says which stage is best."""


def choose(names: str | Sequence[str] | None = None) -> tuple[type[Protocol], ...]:
    """Return the protocols of some names, once each, in the order of `PROTOCOLS`; all of them where None.

    Args:
      names: 'linear, knn', or ('linear', 'knn').

    Raises:
      UserError: an unknown name, or none at all.
    """
    if names is None:
        return tuple(PROTOCOLS.values())
    given = [name.strip() for name in (names.split(",") if isinstance(names, str) else names) if name.strip()]
    known = ", ".join(PROTOCOLS)
    if not given:
        raise UserError(f"no protocol was given; protocols are: {known}")
    for name in given:
        if name not in PROTOCOLS:
            raise UserError(f"unknown protocol {name!r}; protocols are: {known}")
    return tuple(protocol for name, protocol in PROTOCOLS.items() if name in given)
