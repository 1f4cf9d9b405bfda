"""What a request is refused with: codes of gRPC, and the statuses of HTTP that TensorFlow Serving gives for them."""

import re

import grpc

HTTP = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}
"""HTTP status of each gRPC code; what is not here is 500."""

LONGEST = 600
"""Characters of a message: gRPC sends it as a header, of which clients take 8 KiB, and it may quote the request."""


class RequestError(Exception):
    """The error where one request cannot be answered; others can.

    Attributes:
      code: the code of gRPC.
      message: one line for whoever sent the request.
      http: status for REST, where it is not the usual one of `code`.
    """

    def __init__(self, code: grpc.StatusCode, message: str, http: int | None = None):
        super().__init__(message)
        self.code = code
        self.message = shorten(message)
        self.http = http or HTTP.get(code, 500)


def invalid(message: str) -> RequestError:
    """Make the error of a request that is itself wrong."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def shorten(text: str) -> str:
    """Shorten a text to one line of at most LONGEST characters, all of which can be printed."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: LONGEST + 1])
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def from_tensorflow(code: int, message: str) -> RequestError:
    """Make the error of what TensorFlow raised while it ran the graph, without the names of the graph's ops."""
    known = {each.value[0]: each for each in grpc.StatusCode}
    words = message.removeprefix("Graph execution error:").strip()
    asserted = re.search(r"assertion failed: \[(.*?)\] \[(.*?)\]", words)
    text = f"{asserted[1]} {asserted[2]}" if asserted else re.sub(r"\s*\[\[\{\{.*", "", words, flags=re.DOTALL)
    return RequestError(known.get(code, grpc.StatusCode.INTERNAL), text or "the model could not answer")
