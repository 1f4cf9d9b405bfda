"""The linear probe of what `export` gives: the mean over all places, or 2 x 2 places with `--pool 2`."""

from typing import ClassVar

from tfssl.evaluation.protocols.linear import Linear


class LinearPooled(Linear):
    """Linear probe of the mean over all places."""

    name: ClassVar[str] = "linear_pooled"
    title: ClassVar[str] = "pooled linear probe"
    pool: ClassVar[int | None] = 1


class LinearPooled2(Linear):
    """Linear probe of 2 x 2 places."""

    name: ClassVar[str] = "linear_pooled_2"
    title: ClassVar[str] = "2x2 pooled linear probe"
    pool: ClassVar[int | None] = 2
