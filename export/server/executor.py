"""What both services do with a request: it waits its turn, within limits, and is answered by one of a few threads."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc

from tfssl.export.server.errors import RequestError
from tfssl.export.server.versions import Versions

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes:
      threads: requests that are computed at once.
      request_bytes: largest request.
      waiting: requests that are read, wait or are computed at once; more are refused, to be sent later.
      timeout: seconds in which a request must have been sent whole, and again in which it must have been answered.
    """

    threads: int
    request_bytes: int
    waiting: int
    timeout: float

    @property
    def bytes_waiting(self) -> int:
        """Bytes of all requests that wait: four of the largest."""
        return 4 * self.request_bytes


class Work:
    """Runs requests. All methods belong to one event loop.

    Attributes:
      versions: that answer.
      limits: what is taken.
      answered, refused: how many requests were.
    """

    def __init__(self, versions: Versions, limits: Limits):
        self.versions, self.limits = versions, limits
        self.answered = self.refused = 0
        self._requests = self._bytes = 0
        self._threads = concurrent.futures.ThreadPoolExecutor(limits.threads, "tfssl-serve")

    @contextlib.contextmanager
    def count_request(self) -> Iterator[None]:
        """Count a request within the block: raise RequestError where too many are under way."""
        if self._requests >= self.limits.waiting:
            self.refused += 1
            raise RequestError(grpc.StatusCode.UNAVAILABLE, f"{self._requests} requests wait already; try again later")
        self._requests += 1
        try:
            yield
            self.answered += 1
        except BaseException:
            self.refused += 1
            raise
        finally:
            self._requests -= 1

    async def run(self, size: int, function: Callable[[float], T], seconds: float | None = None) -> T:
        """Call `function` in a thread. Raise RequestError, and nothing else.

        Args:
          size: bytes of the request.
          function: a function of the seconds that are left for it.
          seconds: that whoever asks will wait, None for any number.
        """
        end = time.monotonic() + min(self.limits.timeout, math.inf if seconds is None else seconds)

        def called() -> T:
            left = end - time.monotonic()
            if left <= 0:
                raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "the request waited too long; try again later")
            return function(left)

        if self._bytes + size > self.limits.bytes_waiting:
            raise RequestError(grpc.StatusCode.UNAVAILABLE, "too many large requests wait already; try again later")
        self._bytes += size
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, called)
        except (RequestError, asyncio.CancelledError):
            raise
        except MemoryError:
            message = "the request takes more memory than is left"
            raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message) from None
        except Exception as problem:
            logging.getLogger("tfssl").exception("a request met a fault of the server")
            raise RequestError(grpc.StatusCode.INTERNAL, f"fault of the server: {type(problem).__name__}") from problem
        finally:
            self._bytes -= size

    @property
    def busy(self) -> bool:
        """Whether any request is under way; may be asked by any thread."""
        return self._requests > 0

    async def idle(self, seconds: float) -> None:
        """Wait until no request is under way, or so many seconds."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while self._requests and clock() < end:
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Wait for the threads."""
        self._threads.shutdown()
