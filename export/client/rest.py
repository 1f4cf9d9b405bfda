"""Asks a server over REST, as https://www.tensorflow.org/tfx/serving/api_rest says. Without TensorFlow."""

import base64
import json
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.export.client.answers import Model, ServingError, Spec, no_encryption, one_line, read_model

STATUS = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",  # a proxy before a server that starts
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Rest:
    """The model `name` at `http://host:port`."""

    def __init__(self, address: str, name: str, connections: int, certificates: Path | None):
        import urllib3

        self._errors, self._timeout = urllib3.exceptions, urllib3.Timeout
        self._base = f"{address.rstrip('/')}/v1/models/{urllib.parse.quote(name, safe='')}"
        known = None if certificates is None else str(certificates)
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False, ca_certs=known)

    def metadata(self, version: int | None, seconds: float) -> Model:
        answer = self._ask("GET", version, "/metadata", seconds)
        return read_model(answer["model_spec"]["version"], answer["metadata"]["signature_def"]["signature_def"])

    def versions(self, seconds: float) -> list[int]:
        answer = self._ask("GET", None, "", seconds)
        return sorted(int(one["version"]) for one in answer["model_version_status"] if one["state"] == "AVAILABLE")

    def predict(
        self, signature: str, inputs: Mapping[str, Any], version: int | None, model: Model, seconds: float
    ) -> dict[str, np.ndarray]:
        columns = {name: _to_json(rows) for name, rows in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns}).encode()
        answer = self._ask("POST", version, ":predict", seconds, body)["outputs"]
        specs = model.signatures[signature].outputs
        if len(specs) == 1:  # its name is left out
            answer = dict.fromkeys(specs, answer)
        return {name: _from_json(answer[name], spec) for name, spec in specs.items()}

    def close(self) -> None:
        self._pool.clear()

    def _ask(self, method: str, version: int | None, what: str, seconds: float, body: bytes | None = None) -> Any:
        url = self._base + ("" if version is None else f"/versions/{version}") + what
        headers = {"Content-Type": "application/json"}
        try:
            answer = self._pool.request(method, url, body=body, headers=headers, timeout=self._timeout(total=seconds))
        except self._errors.LocationValueError as problem:
            raise UserError(f"{url} is given, expected an address as http://host:8501") from problem
        except self._errors.ReadTimeoutError as problem:
            raise ServingError(f"no answer after {seconds:.3g} s", "DEADLINE_EXCEEDED") from problem
        except self._errors.ProtocolError as problem:
            if "BadStatusLine" in str(problem):
                message = "what answers there speaks no REST; for gRPC, give host:port without http://"
                raise ServingError(message, "UNIMPLEMENTED") from problem
            raise ServingError(one_line(str(problem)), "UNAVAILABLE") from problem  # hung up
        except self._errors.SSLError as problem:
            raise ServingError(no_encryption(str(problem)), "UNAUTHENTICATED") from problem
        except self._errors.HTTPError as problem:  # refused, nobody at that address
            raise ServingError(one_line(str(problem).rpartition(": ")[2]), "UNAVAILABLE") from problem
        if answer.status != 200:
            raise ServingError(_words(answer.data), STATUS.get(answer.status, f"HTTP {answer.status}"))
        try:
            return json.loads(answer.data)
        except ValueError as problem:
            raise ServingError(f"what answers speaks no JSON: {_words(answer.data)}", "INTERNAL") from problem


def _words(data: bytes) -> str:
    text = data.decode(errors="replace")
    try:
        return one_line(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return one_line(text)


def _to_json(rows: Any) -> Any:
    if isinstance(rows, np.ndarray) and rows.dtype != object:
        return rows.tolist()
    return [{"b64": base64.b64encode(row).decode()} for row in rows]


def _from_json(rows: Any, spec: Spec) -> np.ndarray:
    if spec.dtype == "bytes":
        texts = np.array(rows, object)
        array = np.empty(texts.shape, object)
        for place, each in np.ndenumerate(texts):
            array[place] = base64.b64decode(each["b64"]) if isinstance(each, dict) else each.encode()
    else:
        array = np.array(rows, spec.dtype)
    if len(array):
        return array
    return array.reshape(0, *(size or 0 for size in spec.shape[1:]))
