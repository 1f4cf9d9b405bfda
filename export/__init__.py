"""From a run to a model that anyone can load: SavedModel, and its check. Installed as tfssl.export; knows no training."""
