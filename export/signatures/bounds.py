"""How much a request may hold: in numbers alone, so that clients know it without TensorFlow. See `limits`."""

MAX_ROWS = 256
"""Rows a request, after a server has merged some."""

MAX_BYTES = 2**24
"""Bytes of an encoded picture: 16 MiB."""
