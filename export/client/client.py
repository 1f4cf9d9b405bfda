"""A client of served encoders: TensorFlow Serving's or `tfssl serve`'s, over gRPC or REST.

    with tfssl.serving.Client("localhost:8500", model="encoder") as client:
        embedding = client.embed(["a.jpg", "b.png"])  # float32 [2, D]

Over REST (`http://localhost:8501`) it does without TensorFlow; the stubs of gRPC import it.
"""

import concurrent.futures
import math
import ssl
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfssl.base.errors import UserError
from tfssl.export.client.answers import Model, ServingError, Transport, list_names, with_retries
from tfssl.export.client.rows import INVALID, Row, describe_wrong, divide, format_shape, read_rows
from tfssl.export.config import LARGEST_VERSION
from tfssl.export.signatures.bounds import MAX_ROWS

PATIENCE = 5.0
"""Seconds for which a server may be out of reach at first: it may be starting."""

FRESH = 5.0
"""Seconds for which the client believes in the version that it saw last."""

SWAPS = 3
"""How often a version may vanish under a call: it then begins anew with the next one."""


class InvalidRowsError(UserError):
    """The error where some rows have no embedding; all others do.

    Attributes:
      rows: number of the row -> what is wrong with it.
      embedding: float32 [N, D], NaN in these rows.
    """

    def __init__(self, message: str, rows: dict[int, str], embedding: np.ndarray):
        super().__init__(message)
        self.rows = rows
        self.embedding = embedding


class Client:
    """A client that asks a served encoder for embeddings. May be shared by threads."""

    def __init__(
        self,
        address: str,
        *,
        model: str = "encoder",
        version: int | None = None,
        batch_size: int = 32,
        connections: int = 4,
        timeout: float = 60.0,
        certificates: str | Path | None = None,
    ):
        """Make the client; it connects to nothing yet.

        Args:
          address: `host:8500` or `grpc://host:8500` for gRPC, `http://host:8501` for REST; encrypted, as behind a
            proxy, `grpcs://host:443` or `https://host`.
          model: name by which the server knows it.
          version: number of the version to ask; the newest where None.
          batch_size: largest count of rows in a request, at most 256. Requests of more than 4 MiB are divided too.
          connections: largest count of requests at once.
          timeout: seconds for a request, with all its retries.
          certificates: PEM file of the authorities, one of which must have signed the certificate of an encrypted
            server; where None, those that gRPC has and, for REST, the system's.

        Raises:
          UserError: an address of another form, a number out of its range, a file or a library that is missing.
        """
        if not 1 <= batch_size <= MAX_ROWS:
            raise UserError(f"batch_size {batch_size} is given, expected from 1 to {MAX_ROWS}")
        if connections < 1 or not timeout > 0:
            raise UserError(f"connections {connections} and timeout {timeout} are given, expected more than 0")
        if version is not None and not 1 <= version <= LARGEST_VERSION:
            raise UserError(f"version {version} is given, expected from 1 to {LARGEST_VERSION}")
        self._address, self._name, self._version = address, model, version
        self._batch_size, self._connections, self._timeout = batch_size, connections, timeout
        self._transport = _transport(address, model, connections, None if certificates is None else Path(certificates))
        self._seen: tuple[float, Model] | None = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *problem: Any) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._transport.close()

    def model(self) -> Model:
        """Return what the server has loaded: version, and signatures with the types and shapes of their tensors.

        Raises:
          ServingError: nobody answers, or there is no such model or version.
        """
        try:
            return self._model(self._timeout)
        except ServingError as problem:
            raise self._explain(problem) from problem

    def embed(
        self,
        rows: Row | Iterable[Row],
        *,
        invalid: Literal["raise", "nan"] = "raise",
        deadline: float | None = None,
    ) -> np.ndarray:
        """Return embeddings of pictures or of sounds, in their order.

        Pictures as files or bytes (JPEG, PNG, GIF, BMP, WebP) go to the signature `serving_default`, which crops them;
        uint8 pixels to `pixels`, floating-point waveforms to `waveform`. All rows of a call are answered by one and the
        same version. What may succeed at another attempt (a server that is too busy or starts) is tried again.

        Args:
          rows: paths or bytes of pictures; or arrays, all uint8 [S, S, 3] or all float32 [samples] in -1..1, be they
            one array or several. One row alone is taken too.
          invalid: a row without an embedding (no picture, a file that is missing, a waveform of NaN) never loses its
            neighbours. "raise" raises InvalidRowsError when all others are done, which names it and holds the others;
            "nan" gives NaN in its place.
          deadline: seconds for the whole call; None for no limit but that of each request.

        Returns:
          float32 [N, D].

        Raises:
          InvalidRowsError: see `invalid`.
          ServingError: the server is down, too slow, or has no such model or version.
          UserError: no such signature in the model, pixels or waveforms of another size than it takes.
        """
        if invalid not in ("raise", "nan"):
            raise UserError(f"invalid {invalid!r} is given, expected 'raise' or 'nan'")
        signature, given = read_rows(rows)
        end = time.monotonic() + (math.inf if deadline is None else deadline)
        for attempt in range(SWAPS + 1):
            try:
                embedding, wrong = self._embed(signature, given, self._model(self._seconds(end)), end)
                break
            except ServingError as problem:
                # The version was unloaded: rows of two versions must not stand in one array.
                if problem.status != "NOT_FOUND" or self._version is not None or attempt == SWAPS:
                    raise self._explain(problem) from problem
                self._seen = None
        if wrong and invalid == "raise":
            raise InvalidRowsError(describe_wrong(given, wrong), wrong, embedding)
        return embedding

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Send one request to any signature, as it is, with retries.

        Args:
          signature: its name.
          inputs: by name: arrays, or bytes in a list or an array of objects where the signature takes strings.

        Returns:
          The outputs by name; strings as arrays of bytes.

        Raises:
          ServingError: the server is down, too slow, or refuses the request.
          UserError: no such signature.
        """
        model = self.model()
        self._check_signature(signature, model)
        try:
            return with_retries(
                lambda seconds: self._transport.predict(signature, inputs, self._version, model, seconds), self._timeout
            )
        except ServingError as problem:
            raise self._explain(problem) from problem

    def _model(self, seconds: float) -> Model:
        if self._seen is None or time.monotonic() - self._seen[0] > FRESH:
            metadata = with_retries(lambda left: self._transport.metadata(self._version, left), seconds, PATIENCE)
            self._seen = (time.monotonic(), metadata)
        return self._seen[1]

    def _seconds(self, end: float) -> float:
        """Return the seconds for a request of a call that must end at a time."""
        seconds = min(self._timeout, end - time.monotonic())
        if seconds <= 0:
            raise ServingError("the deadline of the call has passed", "DEADLINE_EXCEEDED")
        return seconds

    def _embed(self, signature: str, rows: list[Row], model: Model, end: float) -> tuple[np.ndarray, dict[int, str]]:
        """Return the embeddings float32 [N, D], and what is wrong with rows, by number; they have NaN."""
        self._check_signature(signature, model)
        (name,), outputs = model.signatures[signature]
        if "embedding" not in outputs:
            raise UserError(
                f"{self._name} at {self._address} is no encoder that tfssl exported: {signature} returns"
                f" {list_names(sorted(outputs))}"
            )
        self._check_shapes(rows, model.signatures[signature].inputs[name].shape[1:], model)
        embedding = np.full((len(rows), outputs["embedding"].shape[-1] or 0), np.nan, np.float32)
        requests, wrong = divide(rows, self._batch_size)

        def ask(numbers: list[int]) -> None:
            sent: dict[int, Any] = {}
            for number in numbers:
                row = rows[number]
                try:
                    sent[number] = Path(row).read_bytes() if isinstance(row, (str, Path)) else row
                except OSError as problem:
                    wrong[number] = f"cannot be read: {problem.strerror}"
            if not sent:
                return
            batch: Any = list(sent.values())
            inputs = {name: batch if signature == "serving_default" else np.stack(batch)}
            answer = with_retries(
                lambda left: self._transport.predict(signature, inputs, model.version, model, left), self._seconds(end)
            )
            valid = answer.get("valid", np.ones(len(sent), bool))
            embedding[np.fromiter(sent, int)[valid]] = answer["embedding"][valid]
            wrong.update({number: INVALID[signature] for number, fine in zip(sent, valid, strict=True) if not fine})

        with concurrent.futures.ThreadPoolExecutor(self._connections) as pool:
            asked = [pool.submit(ask, numbers) for numbers in requests]
            try:
                for each in asked:
                    each.result()
            except BaseException:
                for each in asked:
                    each.cancel()
                raise
        return embedding, dict(sorted(wrong.items()))

    def _check_signature(self, name: str, model: Model) -> None:
        if name not in model.signatures:
            raise UserError(
                f"version {model.version} of {self._name} at {self._address} has no signature {name}; its signatures"
                f" are: {list_names(sorted(model.signatures))}"
            )

    def _check_shapes(self, rows: list[Row], wanted: tuple[int | None, ...], model: Model) -> None:
        for number, row in enumerate(rows):
            if isinstance(row, np.ndarray) and row.shape != wanted:
                raise UserError(
                    f"row {number} is {format_shape(row.shape)}, and version {model.version} of {self._name} takes"
                    f" {format_shape(wanted)}; cut it to that size, or give pictures as files or bytes"
                )

    def _explain(self, problem: ServingError) -> ServingError:
        """Return the error with what the user can do about it."""
        where, says = f"{self._name} at {self._address}", str(problem)
        if problem.status == "NOT_FOUND":
            return ServingError(f"{self._what_there_is()} ({says})", problem.status)
        if problem.status == "UNAVAILABLE":
            return ServingError(
                f"no server answers for {where} ({says}); start one, as `tfssl serve`, or give another address",
                problem.status,
            )
        if problem.status == "DEADLINE_EXCEEDED":
            return ServingError(f"{where} is too slow ({says}); give more time or fewer rows", problem.status)
        return ServingError(f"{where} refuses ({problem.status}: {says})", problem.status)

    def _what_there_is(self) -> str:
        """Say why no model answered: another name, or another version."""
        try:
            versions = self._transport.versions(min(self._timeout, PATIENCE))
        except (ServingError, LookupError):
            versions = []
        if versions and self._version is not None:
            known = list_names(versions)
            return f"{self._address} has no version {self._version} of {self._name}; its versions are: {known}"
        return f"{self._address} has no model {self._name}; give the name that the server was started with"


def _transport(address: str, name: str, connections: int, certificates: Path | None) -> Transport:
    try:
        import tenacity  # noqa: F401
        import urllib3  # noqa: F401
    except ImportError as problem:
        raise UserError(
            f"the client needs {problem.name}, which is not installed; pip install 'tfssl[serving]'"
        ) from problem
    scheme, divider, host = address.rpartition("://")
    if certificates is not None:
        if scheme not in ("https", "grpcs"):
            raise UserError(
                f"certificates are given for {address}, which is not encrypted; expected grpcs:// or https://"
            )
        try:
            ssl.create_default_context(cafile=certificates)
        except OSError as problem:
            raise UserError(
                f"certificates {certificates} cannot be used ({problem.strerror}); expected the authorities', as PEM"
            ) from problem
    if scheme in ("http", "https") and host:
        from tfssl.export.client.rest import Rest

        return Rest(address, name, connections, certificates)
    if scheme not in ("", "grpc", "grpcs") or (divider and not scheme) or not host.rpartition(":")[2].isdecimal():
        raise UserError(
            f"address {address} is given, expected host:port or grpc://host:port for gRPC, or http://host:port for REST"
        )
    from tfssl.export.client.rpc import Rpc

    return Rpc(host, name, scheme == "grpcs", certificates)
