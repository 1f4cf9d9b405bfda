"""`serve`: an export on this machine by TensorFlow Serving's protocols, from start to a clean end."""

import asyncio
import contextlib
import dataclasses
import errno
import logging
import os
import signal
import socket
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tfssl.base.errors import UserError
from tfssl.base.result import Result
from tfssl.export.config import ServeSettings
from tfssl.export.deployment.files import model_name
from tfssl.export.server.executor import Limits, Work
from tfssl.export.server.grpc_service import open_grpc
from tfssl.export.server.heap import give_back
from tfssl.export.server.versions import Versions, check_folder

GRACE = 60.0
"""Seconds that requests under way have at the end."""


@dataclasses.dataclass(frozen=True)
class Served(Result):
    """What a server did.

    Attributes:
      model: its name.
      versions: that it has served.
      answered: requests.
      refused: requests; the answer to each says why.
    """

    model: str
    versions: tuple[int, ...]
    answered: int
    refused: int

    def __str__(self) -> str:
        versions = ", ".join(map(str, self.versions))
        return f"{self.model}: {self.answered:,} requests answered, {self.refused:,} refused; versions {versions}"


@dataclasses.dataclass(frozen=True)
class Addresses:
    """Where a server listens.

    Attributes:
      model: its name.
      version: that it serves at first.
      rest, grpc: "host:port"; grpc is None where it is off.
    """

    model: str
    version: int
    rest: str
    grpc: str | None


def serve(
    folder: str | Path,
    name: str | None = None,
    host: str = "127.0.0.1",
    rest_port: int = 8501,
    grpc_port: int | None = 8500,
    poll: float = 1.0,
    threads: int | None = None,
    max_request: int = 64,
    max_waiting: int = 256,
    timeout: float = 30.0,
) -> Served:
    """Serve the newest version of an export until Ctrl-C or SIGTERM; then requests under way are still answered.

    The paths, messages, answers and errors are those of TensorFlow Serving, where production belongs: there is neither
    encryption nor a password. A version that is added is switched to without a lost request; where the newest is
    removed, the largest that is left is served.

    Args:
      folder: DIR, which `export` wrote.
      name: the name of the model; that of the folder where None.
      host: address to listen on; by default only this machine reaches it.
      rest_port, grpc_port: 0 for any that is free; `grpc_port` None for none.
      poll: seconds between looks at the folder.
      threads: requests that are computed at once; as many as there are cores where None.
      max_request: MiB of a request, and of what it unpacks to where it is packed by gzip.
      max_waiting: requests that wait at once; more are refused, to be sent later.
      timeout: seconds in which a request must have been sent, and again in which it must have been answered.

    Raises:
      UserError: no export, one that cannot be loaded, an address that cannot be listened on.
    """
    settings = ServeSettings(**locals())
    stop = threading.Event()
    with running(settings) as (addresses, result):
        with _signals(stop.set):
            # Not before: whoever reads that it listens may end it, and is to find the signals attended to.
            _tell(addresses, settings)
            while not stop.wait(3600.0):
                pass
        print("ending: requests under way are still answered", flush=True)
    return result()


@contextlib.contextmanager
def running(settings: ServeSettings) -> Iterator[tuple[Addresses, Callable[[], Served]]]:
    """Run a server beside the caller's own code, for as long as the block lasts.

    Yields:
      Where it listens, and what tells afterwards what it did.

    Raises:
      UserError: as `serve`.
    """
    rest_service = _rest_service()
    folder = settings.folder
    check_folder(folder)
    name = settings.name or model_name(folder)
    _refuse_taken(settings)
    threads = settings.threads or os.cpu_count() or 1
    limits = Limits(threads, settings.max_request * 2**20, settings.max_waiting, settings.timeout)
    versions = Versions(folder, name)
    versions.poll()
    first = versions.current
    if first is None:
        raise UserError(f"{folder} cannot be served ({versions.problem()}); export the run again")
    server = _Server(Work(versions, limits), settings.poll, rest_service)
    try:
        rest, rpc = server.start(settings.host, settings.rest_port, settings.grpc_port)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        yield (
            Addresses(name, first, f"{host}:{rest}", None if rpc is None else f"{host}:{rpc}"),
            lambda: Served(name, tuple(versions.seen), server.work.answered, server.work.refused),
        )
    finally:
        server.stop()


def _refuse_taken(settings: ServeSettings) -> None:
    """Raise UserError where another process listens on a port already: a model takes seconds to load."""
    for service, port in (("REST", settings.rest_port), ("gRPC", settings.grpc_port)):
        if not port:
            continue
        try:
            socket.create_server(
                (settings.host, port), family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET
            ).close()
        except OSError as problem:
            if problem.errno == errno.EADDRINUSE:  # what else may be wrong the services themselves find
                raise _cannot_listen(settings.host, port, service, "address already in use") from problem


def _cannot_listen(host: str, port: int, service: str, reason: str) -> UserError:
    return UserError(f"cannot listen on {host}:{port} for {service} ({reason}); give --{service.lower()}-port 0")


def _rest_service() -> Callable[[Work], Any]:
    try:
        from tfssl.export.server.rest import Rest
    except ImportError as problem:
        raise UserError("serve needs aiohttp, which is not installed; pip install 'tfssl[serving]'") from problem
    return Rest


class _Server:
    """Two threads: an event loop for both services, and one that looks for versions and tidies up in between."""

    def __init__(self, work: Work, poll: float, rest_service: Callable[[Work], Any]):
        self.work = work
        self._poll = poll
        self._loop = asyncio.new_event_loop()
        self._looping = threading.Thread(target=self._loop.run_forever, name="tfssl-loop", daemon=True)
        self._following = threading.Thread(target=self._follow, name="tfssl-versions", daemon=True)
        self._ended = threading.Event()
        self._rest = rest_service(work)
        self._rest_open = False
        self._grpc: Any = None

    def start(self, host: str, rest_port: int, grpc_port: int | None) -> tuple[int, int | None]:
        self._looping.start()
        ports = self._await(self._open(host, rest_port, grpc_port))
        self._following.start()
        return ports

    def stop(self) -> None:
        self._ended.set()
        if self._looping.is_alive():
            self._await(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._looping.join()
        if self._following.is_alive():
            self._following.join()
        self._loop.close()
        self.work.close()
        self.work.versions.close()

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _open(self, host: str, rest_port: int, grpc_port: int | None) -> tuple[int, int | None]:
        try:
            rest, self._rest_open = await self._rest.open(host, rest_port), True
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise _cannot_listen(host, rest_port, "REST", reason) from problem
        if grpc_port is None:
            return rest, None
        try:
            self._grpc, bound = await open_grpc(self.work, host, grpc_port)
        except (RuntimeError, OSError) as problem:
            raise _cannot_listen(host, grpc_port, "gRPC", "in use?") from problem
        return rest, bound

    async def _close(self) -> None:
        services = [self._rest.close(GRACE)] if self._rest_open else []
        if self._grpc is not None:
            services.append(self._grpc.stop(GRACE))
        await asyncio.gather(*services)

    def _follow(self) -> None:
        tidied = 0
        while not self._ended.wait(self._poll):
            ended = self.work.answered + self.work.refused
            if ended != tidied and not self.work.busy:
                tidied = ended
                give_back()
            try:
                self.work.versions.poll()
            except Exception:  # the version that is served must stay in service
                logging.getLogger("tfssl").exception("looking for versions failed")


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """End the server cleanly on Ctrl-C or SIGTERM, once; a second one ends it at once."""
    before: dict[int, Any] = {}

    def first(number: int, _: Any) -> None:
        signal.signal(number, before[number])
        stop()

    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        before[number] = signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(addresses: Addresses, settings: ServeSettings) -> None:
    lines = [
        f"{addresses.model}, version {addresses.version} of {settings.folder}",
        f"REST  http://{addresses.rest}/v1/models/{urllib.parse.quote(addresses.model)}",
        f"gRPC  {addresses.grpc or 'off'}",
        "Production belongs on TensorFlow Serving, which answers the same; this is for trying out. Ctrl-C ends it.",
    ]
    if settings.name is None and ":" in Path(os.path.abspath(settings.folder)).name:
        lines.append("The name has - where that of the folder has a colon, which no path of REST can have.")
    if settings.host not in ("127.0.0.1", "localhost", "::1"):
        lines.append("Whoever reaches this address may ask: there is neither encryption nor a password.")
    print("\n".join(lines), flush=True)
    logger = logging.getLogger("tfssl")
    if not logger.handlers and logger.getEffectiveLevel() > logging.INFO:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
