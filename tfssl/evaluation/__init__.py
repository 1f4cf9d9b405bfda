"""How good are the features? Linear probe and k-NN on every stage of a frozen trunk, beside its random weights."""

from tfssl.evaluation.probing import evaluate
from tfssl.evaluation.results import Evaluation, Score

__all__ = ["Evaluation", "Score", "evaluate"]
