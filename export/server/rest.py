"""TensorFlow Serving's REST: /v1/models/NAME[/versions/N][/metadata|:predict], errors as {"error": "..."}."""

import asyncio
import functools
import json
import logging
import re
import zlib
from collections.abc import Callable
from typing import Any

import grpc
from aiohttp import web
from google.protobuf.json_format import MessageToDict, MessageToJson
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from tfssl.export.config import LARGEST_VERSION
from tfssl.export.server.errors import RequestError, invalid
from tfssl.export.server.executor import Work
from tfssl.export.server.rest_json import read_request, write_answer
from tfssl.export.server.service import SIGNATURES, metadata, status, version_of

_MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_ASKED = re.compile(_MODEL + r"(/metadata)?", re.IGNORECASE)
_CALLED = re.compile(_MODEL + r":(predict|classify|regress)", re.IGNORECASE)
IDENTITY = "identity"
GZIP = ("gzip", "x-gzip")
"""Names of the one compression that is taken, RFC 9110, 8.4.1.3."""
IDLE = 75.0
"""Seconds for which a connection may stay open between two requests."""


class Rest:
    """The REST service of a server, from `open` to `close`."""

    def __init__(self, work: Work):
        self._work = work
        self._spoken: set[Any] = set()  # connections that have sent a request
        self._newcomers: dict[Any, float] = {}
        self._closing = False

    async def open(self, host: str, port: int) -> int:
        """Listen, and return the port. Raise OSError where it cannot."""
        application = web.Application(client_max_size=self._work.limits.request_bytes)
        application.router.add_route("*", "/{path:.*}", self._answer)
        # Its traceback for every line that is no HTTP would fill the log of a server that strangers reach.
        quiet = logging.getLogger("tfssl.serve.http")
        quiet.setLevel(logging.CRITICAL)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=quiet,
            keepalive_timeout=IDLE,
            auto_decompress=False,  # which has no limit; see `_unpack`
            lingering_time=2.0,  # for a client that still sends what was refused
            shutdown_timeout=1.0,
        )
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, host, port)
        try:
            await self._site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._sweeping = asyncio.create_task(self._sweep())
        return self._runner.addresses[0][1]

    async def close(self, grace: float) -> None:
        """Take no more connections, and wait `grace` seconds for requests under way."""
        self._closing = True
        self._sweeping.cancel()
        await self._site.stop()
        # From the moment of its cleanup on, aiohttp 3.14 drops what is still to come of a request.
        await self._work.idle(grace)
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self._spoken.add(request.protocol)
        try:
            with self._work.count_request():
                body = await self._body(request)
                text = await self._work.run(len(body), self._job(request, body))
            response = web.Response(body=text, content_type="application/json")
        except RequestError as problem:
            body = json.dumps({"error": problem.message}).encode()
            response = web.Response(body=body, status=problem.http, content_type="application/json")
        if self._closing or not request.content.is_eof():  # the rest of a request that was not read
            response.force_close()
        return response

    async def _body(self, request: web.Request) -> bytes:
        limits = self._work.limits
        if (request.content_length or 0) > limits.request_bytes:
            raise _too_large(limits.request_bytes)
        try:
            return await asyncio.wait_for(request.read(), limits.timeout)
        except TimeoutError:
            message = f"the request was not sent within {limits.timeout:g} s"
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, message, http=408) from None
        except web.HTTPRequestEntityTooLarge:
            raise _too_large(limits.request_bytes) from None
        except web.RequestPayloadError as problem:
            raise invalid(f"the request breaks off: {problem}") from None

    def _job(self, request: web.Request, body: bytes) -> Callable[[float], bytes]:
        """Return what a thread is to do for a request; raise RequestError for a path that is none of the API's."""
        work, method, path = self._work, request.method, request.path
        asked, called = _ASKED.fullmatch(path), _CALLED.fullmatch(path)
        if method == "GET" and asked is not None:
            return functools.partial(_metadata if asked[4] else _status, work, asked)
        if method == "POST" and called is not None:
            if called[4].lower() != "predict":
                raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"{called[4]} is not there; encoders have predict")
            encoding = request.headers.get("Content-Encoding", IDENTITY).strip().lower()
            if encoding not in (IDENTITY, *GZIP):
                message = f"Content-Encoding {encoding} is not there; send the request uncompressed, or by gzip"
                raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, message, http=415)
            return functools.partial(_predict, work, called, body, encoding in GZIP)
        code = None if path.lower().startswith("/v1/") else 404
        raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, f"Malformed request: {method} {path}", http=code)

    async def _sweep(self) -> None:
        """Close connections on which no whole request has come in time; aiohttp's own limit begins after the first."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(1.0)
            server = self._runner.server
            connections = set(server.connections) if server is not None else set()
            self._spoken &= connections
            self._newcomers = {each: self._newcomers.get(each, clock()) for each in connections - self._spoken}
            for each, since in self._newcomers.items():
                if clock() - since > self._work.limits.timeout and each.transport is not None:
                    each.transport.abort()


def _name_model(request: Any, match: re.Match[str]) -> Any:
    """Give a request the model that a path names."""
    request.model_spec.name = match[1]
    if match[2] is not None:
        if len(match[2]) > len(str(LARGEST_VERSION)) or int(match[2]) > LARGEST_VERSION:
            raise invalid(f"Failed to convert version: {match[2]} to numeric.")
        request.model_spec.version.value = int(match[2])
    elif match[3] is not None:
        request.model_spec.version_label = match[3]
    return request


def _too_large(limit: int) -> RequestError:
    message = f"the request is larger than {limit:,} bytes; send fewer rows"
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message, http=413)


def _unpack(body: bytes, limit: int) -> bytes:
    """Unpack a body that gzip made, but no more than `limit` bytes. Raise RequestError where it is larger or none."""
    stream = zlib.decompressobj(wbits=31)  # with the header of gzip
    try:
        unpacked = stream.decompress(body, limit + 1)
    except zlib.error as problem:
        raise invalid(f"the request is not what gzip makes: {problem}") from None
    if len(unpacked) > limit:
        raise _too_large(limit)
    if not stream.eof or stream.unused_data:
        what = "has bytes behind its end" if stream.eof else "breaks off"
        raise invalid(f"the request is not what gzip makes: it {what}")
    return unpacked


def _predict(work: Work, match: re.Match[str], body: bytes, packed: bool, seconds: float) -> bytes:
    spec = _name_model(get_model_status_pb2.GetModelStatusRequest(), match).model_spec
    with work.versions.use(version_of(work, spec)) as model:
        whole = _unpack(body, work.limits.request_bytes) if packed else body
        signature, inputs, rows = read_request(whole, model)
        return write_answer(model.predict(signature, inputs, seconds), rows)


def _status(work: Work, match: re.Match[str], _: float) -> bytes:
    request = _name_model(get_model_status_pb2.GetModelStatusRequest(), match)
    return MessageToJson(status(work, request), indent=1, **_print_options()).encode()


def _metadata(work: Work, match: re.Match[str], _: float) -> bytes:
    request = _name_model(get_model_metadata_pb2.GetModelMetadataRequest(), match)
    request.metadata_field.append(SIGNATURES)
    answer = metadata(work, request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata[SIGNATURES].Unpack(signatures)
    document = {
        "model_spec": _as_dict(answer.model_spec),
        "metadata": {SIGNATURES: _as_dict(signatures)},
    }
    return json.dumps(document, indent=1).encode()


def _as_dict(message: Message) -> dict[str, Any]:
    return MessageToDict(message, **_print_options())


def _print_options() -> dict[str, bool]:
    """Print as TensorFlow Serving does: the names of the .proto, and also what is empty."""
    return {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
