"""Embeddings of whole collections: made by `embed`, indexed by `index`, asked by `search`."""

from tfssl.embedding.collection import Embedded, embed
from tfssl.embedding.files import Embeddings, read_embeddings
from tfssl.embedding.indexing import index
from tfssl.embedding.searching import search

__all__ = ["Embedded", "Embeddings", "embed", "index", "read_embeddings", "search"]
