"""Settings of `embed`, `index` and `search`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from tfssl.base.config import Count, GalleryFile, Settings, Share, ending, option, subject


class EmbedSettings(Settings):
    """All arguments of `embed`."""

    model: Any = subject("RUN_OR_EXPORT")
    data: Any = subject("DATA")
    to: Annotated[Path, ending(".npz", ".parquet")] = option(
        "FILE.parquet or FILE.npz: embedding [N, D], path and label [N]."
    )
    stage: str | None = option("Stage of a run; the one that export would take where not given.", None)
    sound: bool = option("Of clips, embed what is heard.", False)
    batch_size: Count = option("Pictures at once.", 64)
    max_broken: Share = option("Largest part of unreadable pictures.", 1.0)
    beam: str | None = option("Runner of Apache Beam to hand it to; for an export and pictures.", None)
    server: str | None = option("host:8500 for gRPC, http://host:8501 for REST.", None, metavar="ADDRESS")
    model_name: str | None = option("Of the model on the server; that of DIR.", None, metavar="NAME")
    verbose: Literal[0, 1] = option("1 a progress bar, 0 nothing.", 1)


class IndexSettings(Settings):
    """All arguments of `index`."""

    embeddings: Path = subject("EMBEDDINGS")
    out: Path = option("New folder for the index.")
    exact_up_to: Count = option("Rows; of more, only near cells are searched.", 100_000)


def _several(given: Any) -> Any:
    return [given] if isinstance(given, (str, Path)) else given


class SearchSettings(Settings):
    """All arguments of `search`."""

    index: Path = subject("INDEX")
    query: Annotated[tuple[Path, ...], BeforeValidator(_several)] = option(
        "A picture, sound or word to find the like of; once for each."
    )
    count: Count = option("Answers for each.", 10)
    encoder: Any = option("Run or export that made the embeddings, where it was moved.", None)
    to: GalleryFile | None = option("For queries and answers: FILE.html, or png, svg, pdf or jpg.", None)
