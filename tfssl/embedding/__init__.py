"""Embeddings of whole collections: made by `embed`, indexed by `index`, asked by `search`."""
