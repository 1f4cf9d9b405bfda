"""How good are the features, stage by stage, beside random weights; and how well are a run's own puzzles solved?"""

from tfssl.evaluation.alike import neighbours
from tfssl.evaluation.hearing import evaluate_sound
from tfssl.evaluation.probing import evaluate
from tfssl.evaluation.results import Evaluation, Score
from tfssl.evaluation.retrieval import retrieve
from tfssl.evaluation.solving import pretext

__all__ = ["Evaluation", "Score", "evaluate", "evaluate_sound", "neighbours", "pretext", "retrieve"]
