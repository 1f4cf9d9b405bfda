"""Studies: many runs, each pretrained and evaluated alike, in one folder, as a table, a figure and JSON."""

from tfssl.studies.comparison import Comparison, compare
from tfssl.studies.sweeping import Sweep, sweep

__all__ = ["Comparison", "Sweep", "compare", "sweep"]
