"""`search`: what of a collection is most like a picture, a sound or a word?"""

import dataclasses
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfssl.base.errors import NewerFormatError, UserError
from tfssl.base.files import check_format, text_of
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result, plain
from tfssl.embedding import index as indexing
from tfssl.embedding import words
from tfssl.embedding.config import SearchSettings
from tfssl.embedding.encoders import Encoder, load_encoder
from tfssl.embedding.inputs import UNDECODABLE, embed_sound
from tfssl.pipelines import batches
from tfssl.pipelines.decoding import picture_crops
from tfssl.pipelines.sources.any_source import open_source
from tfssl.pipelines.sources.walking import problem_of
from tfssl.report import gallery
from tfssl.runs.run import Run


class Answer(NamedTuple):
    """One of a collection: its path, the cosine to what was asked for, and its label ("" unknown)."""

    path: str
    similarity: float
    label: str


@dataclasses.dataclass(frozen=True)
class Found(Result):
    """Answers of `search`.

    Attributes:
      answers: of each query, the most similar first.
      file: the gallery, None where nothing was drawn.
    """

    answers: dict[str, list[Answer]]
    file: Path | None

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints: {"queries": {FILE: [{"path", "similarity", "label"}, ...]}, "file"}."""
        queries = {query: [answer._asdict() for answer in answers] for query, answers in self.answers.items()}
        return {"queries": queries, "file": plain(self.file)}

    def __str__(self) -> str:
        lines = []
        for query, answers in self.answers.items():
            lines.append(query)
            lines += [f"  {each.similarity:6.3f}  {each.path}" for each in answers]
        return "\n".join(lines)


@on_its_own()
def search(
    index: str | Path,
    query: str | Path | Iterable[str | Path],
    *,
    count: int = 10,
    encoder: str | Path | Run | None = None,
    to: str | Path | None = None,
) -> Found:
    """Ask an index for what is most like some files.

    Args:
      index: a folder that `tfssl.index` wrote.
      query: a picture, or several; sounds, where a sound encoder made the embeddings; where it is an index of words,
        words, or texts, which are asked for by the mean of their words.
      count: answers for each.
      encoder: where the run or export is that made the embeddings, if it was moved.
      to: a page (html) or a picture file (png, svg, pdf, jpg) that shows each query with its answers.

    Raises:
      UserError: no index, the encoder is missing or another one, a query that is no picture, nothing to draw.
    """
    settings = SearchSettings(**locals())
    faiss = indexing.require_faiss()
    folder, to = settings.index, settings.to
    queries = [str(one) for one in settings.query]
    if not queries:
        raise UserError("no --query is given, expected at least one file")
    try:
        record = json.loads((folder / indexing.RECORD).read_text())
        check_format(folder / indexing.RECORD, record, indexing.FORMAT)
        vectors = faiss.deserialize_index(np.fromfile(folder / indexing.VECTORS, np.uint8))
        with np.load(folder / indexing.PATHS) as file:
            paths, labels = file["path"], file.get("label")
    except NewerFormatError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as problem:
        raise UserError(f"{folder} is no index; expected a folder that `tfssl index` wrote") from problem
    made_by = record["encoder"]
    if to is not None and made_by["kind"] in ("sound", words.KIND):
        items = "words" if made_by["kind"] == words.KIND else "sounds"
        raise UserError(f"{folder} is of {items}, which cannot be drawn; leave --to out")
    if made_by["kind"] == words.KIND:
        rows = indexing.unit(_embed_texts(queries, made_by, encoder, folder))
    else:
        rows = indexing.unit(_embed(queries, _the_encoder(made_by, encoder, folder)))
    similarity, numbers = vectors.search(rows, min(count, len(paths)))
    answers = {
        query: [
            Answer(str(paths[number]), float(cosine), "" if labels is None else str(labels[number]))
            for cosine, number in zip(*row, strict=True)
            if number >= 0  # FAISS fills with -1 where the cells that it looked into hold fewer
        ]
        for query, *row in zip(queries, similarity, numbers, strict=True)
    }
    if to is not None:
        _draw(answers, record["data"]["name"], Path(to))
    return Found(answers, None if to is None else Path(to))


def _place_of(made_by: dict[str, Any], given: str | Path | Run | None, folder: Path) -> Any:
    if given is None and not Path(made_by["model"]).exists():
        raise UserError(
            f"the encoder that made {folder}, {made_by['model']}, is not there; say where it is now by --encoder"
        )
    return made_by["model"] if given is None else given


def _embed_texts(
    queries: list[str], made_by: dict[str, Any], given: str | Path | Run | None, folder: Path
) -> np.ndarray:
    """Embed words, or texts by the mean of their words, float32 [Q, D]. Raise UserError where none is known."""
    place = _place_of(made_by, given, folder)
    if not words.is_words(place):
        raise UserError(f"{place} is no run on text and no export of one; give a copy of {made_by['model']}")
    encoder, _, _, answer = words.load_words(place)
    encoder.check_made(made_by, str(folder))
    rows, known = answer(queries)
    for query, is_known in zip(queries, known, strict=True):
        if not is_known:
            raise UserError(f"--query {query!r} has no word that the vocabulary has; ask for others")
    return rows


def _the_encoder(made_by: dict[str, Any], given: str | Path | Run | None, folder: Path) -> Encoder:
    place = _place_of(made_by, given, folder)
    # The stage is a run's; an export of that stage has the same weights and knows it.
    is_run = isinstance(place, Run) or (Path(place) / "run.json").exists()
    loaded = load_encoder(place, made_by["layer"] if is_run else None, made_by["kind"])
    loaded.check_made(made_by, str(folder))
    return loaded


def _embed(queries: list[str], encoder: Encoder) -> np.ndarray:
    """Embed the queries, float32 [Q, D]. Raise UserError where a query cannot be read."""
    for query in queries:
        if problem := problem_of(query):
            raise UserError(f"--query {query} {problem}; expected a picture, or a sound for an index of sounds")
    if encoder.kind == "sound":
        heard = [embed_sound(query, encoder) for query in queries]
        for query, row in zip(queries, heard, strict=True):
            if row is None:
                raise UserError(f"--query {query} is no sound that can be decoded; expected one, as the index has")
        return np.stack(heard)  # type: ignore[arg-type]
    images = _pictures(queries, encoder.size)
    return encoder.function(images).numpy()


def _pictures(queries: list[str], size: int) -> tf.Tensor:
    images, valid = picture_crops.pictures(tf.constant([Path(query).read_bytes() for query in queries]), size)
    for query, fine in zip(queries, valid.numpy(), strict=True):
        if not fine:
            raise UserError(f"--query {query} is no picture or {UNDECODABLE}; expected JPEG, PNG, GIF, BMP or WebP")
    return images


def _draw(answers: dict[str, list[Answer]], data: str, to: Path) -> None:
    """Draw a row for each query, which stands first."""
    source = open_source(data, max_broken=1.0)
    place = {text_of(path): number for number, path in enumerate(source.paths)}  # as Parquet has them
    place |= {path: number for number, path in enumerate(source.paths)}
    wanted = list(dict.fromkeys(answer.path for row_answers in answers.values() for answer in row_answers))
    gone = [path for path in wanted if path not in place]
    if gone:
        raise UserError(f"{gone[0]} is not in {data} any more and cannot be drawn; leave --to out, or index it anew")
    numbers = np.array([place[path] for path in wanted])
    images: dict[str, np.ndarray] = {}
    for batch in batches.plain(source.subset(numbers, "answers"), gallery.DRAWN, 64):
        for number, image in zip(batch["index"].numpy(), batch["image"].numpy(), strict=True):
            images[wanted[number]] = image
    asked = _pictures(list(answers), gallery.DRAWN).numpy()
    rows = [
        gallery.Row(
            gallery.Picture(image, "query", f"query: {query}"),
            [
                [
                    gallery.Picture(
                        images[answer.path],
                        f"{answer.similarity:.3f} {answer.label}".strip(),
                        f"{answer.label} {answer.path}, cosine {answer.similarity:.3f}".strip(),
                    )
                    for answer in row_answers
                ]
            ],
        )
        for image, (query, row_answers) in zip(asked, answers.items(), strict=True)
    ]
    count = max(len(row_answers) for row_answers in answers.values())
    gallery.write(to, rows, count, title=f"What of {data} is most alike")
