"""What a server says, be it by REST or by gRPC: its model's signatures, and its errors."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from tfssl.base.errors import UserError

RETRIED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
"""Status codes that another attempt may mend: a server that starts, is too busy, or hangs up."""

Result = TypeVar("Result")


class ServingError(UserError):
    """The error where a server does not answer, or answers with an error.

    Attributes:
      status: a status code of gRPC, such as "NOT_FOUND"; those of HTTP are translated.
    """

    def __init__(self, message: str, status: str):
        super().__init__(message)
        self.status = status


class Spec(NamedTuple):
    """A tensor of a signature: NumPy's name of its type ("uint8"; "bytes" of strings), and its shape, None unknown."""

    dtype: str
    shape: tuple[int | None, ...]


class Signature(NamedTuple):
    """The tensors of a signature by name."""

    inputs: dict[str, Spec]
    outputs: dict[str, Spec]


@dataclasses.dataclass(frozen=True)
class Model:
    """What a server has loaded.

    Attributes:
      version: number of the version that answered.
      signatures: by name.
    """

    version: int
    signatures: dict[str, Signature]


class Transport(Protocol):
    """A way to ask a server. Every method takes the seconds after which it gives up, and raises ServingError."""

    def metadata(self, version: int | None, seconds: float) -> Model:
        """Return the metadata of a version; of the newest where None."""

    def versions(self, seconds: float) -> list[int]:
        """Return numbers of the versions that can be asked."""

    def predict(
        self, signature: str, inputs: Mapping[str, Any], version: int | None, model: Model, seconds: float
    ) -> dict[str, np.ndarray]:
        """Send one request: arrays, or lists of bytes, by name; return outputs by name."""

    def close(self) -> None:
        """End the connections."""


def read_model(version: Any, signatures: Mapping[str, Any]) -> Model:
    """Read a model from the JSON form of a SignatureDefMap."""
    by_name = {
        name: Signature(
            *({key: _spec(info) for key, info in one.get(side, {}).items()} for side in ("inputs", "outputs"))
        )
        for name, one in signatures.items()
        if not name.startswith("__")  # TensorFlow's own, such as __saved_model_init_op
    }
    return Model(int(version), by_name)


def _spec(info: Mapping[str, Any]) -> Spec:
    kind = info["dtype"].removeprefix("DT_").lower()
    dtype = {"float": "float32", "double": "float64", "half": "float16", "string": "bytes"}.get(kind, kind)
    sizes = [int(each.get("size", 0)) for each in info.get("tensor_shape", {}).get("dim", [])]
    return Spec(dtype, tuple(None if size < 0 else size for size in sizes))


def with_retries(request: Callable[[float], Result], seconds: float, patience: float = math.inf) -> Result:
    """Call `request` with the seconds that are left, again and again while it fails with what is RETRIED.

    After `patience` seconds it is not called again. Waits are random, in a window that doubles from 0.1 s up to 5 s, so
    that many clients do not come back at once.
    """
    import tenacity

    end = time.monotonic() + seconds
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda one: isinstance(one, ServingError) and one.status in RETRIED),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=5),
        stop=tenacity.stop_before_delay(min(seconds, patience)),
        reraise=True,
    )
    last: ServingError | None = None

    def attempt() -> Result:
        nonlocal last
        try:
            return request(max(end - time.monotonic(), 0.001))
        except ServingError as problem:
            if problem.status == "DEADLINE_EXCEEDED" and last is not None:
                raise last from problem  # the little time of a last attempt is not what is wrong
            last = problem
            raise

    return attempts(attempt)


def no_encryption(words: str) -> str:
    """Say what to do, from the words of OpenSSL or BoringSSL when no encrypted connection came about."""
    if "WRONG_VERSION_NUMBER" in words:
        return "what answers there does not encrypt; give host:port or http://host:port"
    return one_line(f"encryption cannot begin; give the authorities' certificates as certificates=FILE: {words}")


def one_line(text: str, longest: int = 300) -> str:
    """Return the words of a server, for an error of one line."""
    words = " ".join(text.split())
    return words if len(words) <= longest else words[:longest] + "..."


def list_names(names: Sequence[Any]) -> str:
    """Format names as 'a, b' or 'none'."""
    return ", ".join(str(name) for name in names) or "none"
