"""Commands: from a run to its users."""

import os
from typing import Any

import tfssl
from tfssl.cli.options import command


@command("tfssl.export.config:ExportSettings")
def export(**arguments: Any) -> Any:
    """Write a SavedModel for TensorFlow Serving, and encoder.keras beside it.

    Says which embedding it is, and what evaluate measured exactly that at.
    """
    return tfssl.export(**arguments)


@command("tfssl.export.config:CheckSettings")
def check(**arguments: Any) -> Any:
    """Replay the golden vectors of an export: is what is served what was measured?

    With --server, also those of a server: it must serve the newest version in DIR.
    """
    return tfssl.check(**arguments)


@command("tfssl.export.config:ServeSettings")
def serve(**arguments: Any) -> Any:
    """Serve an export on this machine by TensorFlow Serving's REST and gRPC, until Ctrl-C.

    New versions in DIR are switched to without a lost request. For trying out; production belongs on TensorFlow
    Serving. Needs the extra 'serving'.
    """
    # libjpeg writes a line for each broken picture; kept for a report of a crash, they would fill the disk.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return tfssl.serve(**arguments)


@command("tfssl.embedding.config:EmbedSettings")
def embed(**arguments: Any) -> Any:
    """Embed every picture, clip or sound of a collection. Killed and started again, it resumes.

    With --server, a server computes that serves the export; the golden vectors of the export tell that it does.
    """
    return tfssl.embed(**arguments)


@command("tfssl.embedding.config:IndexSettings")
def index(**arguments: Any) -> Any:
    """Make a FAISS index of a file that embed wrote. Needs the extra 'search'."""
    return tfssl.index(**arguments)


@command("tfssl.embedding.config:SearchSettings")
def search(**arguments: Any) -> Any:
    """Find what of a collection is most like a picture or a sound. Needs the extra 'search'."""
    return tfssl.search(**arguments)
