"""Commands: how good a run is."""

from typing import Any

import tfssl
from tfssl.cli.options import command


@command("tfssl.evaluation.config:EvaluateSettings")
def evaluate(**arguments: Any) -> Any:
    """Measure the features of every stage, beside the same trunk with random weights.

    SUBJECT is a run, an export, a .keras file of a trunk, or a trunk's name: alone for random weights, or with those of
    others, as "mobilenet_v3_small(weights='imagenet')"; all of keras.applications. --beside measures others alike.
    """
    return tfssl.evaluate(**arguments)


@command("tfssl.evaluation.config:CacheSettings")
def cache(**arguments: Any) -> Any:
    """Say what is kept between commands (features, for the next protocol of evaluate), and where."""
    return tfssl.cache(**arguments)


@command("tfssl.evaluation.config:EvaluateSoundSettings", "evaluate-sound")
def evaluate_sound(**arguments: Any) -> Any:
    """Measure the sound encoder of a run on labelled sounds, stage by stage, over folds.

    DATA has a sub-folder of sounds for each class. Needs the extra 'video'.
    """
    return tfssl.evaluate_sound(**arguments)


@command("tfssl.evaluation.config:EvaluateLocalisationSettings", "evaluate-localisation")
def evaluate_localisation(**arguments: Any) -> Any:
    """How often does a run point at what sounds, in clips of the toy world?

    DATA is 'toy:clips(count=200, seed=20180)' where not given; the run must not be trained on that seed. RUN was
    trained on 'audio_visual(fusion="localise")'.
    """
    return tfssl.evaluate_localisation(**arguments)


@command("tfssl.evaluation.config:EvaluateTrackingSettings", "evaluate-tracking")
def evaluate_tracking(**arguments: Any) -> Any:
    """How well does a run follow the main object of clips of the toy world, beside random weights and staying?

    DATA is 'toy:clips(count=50, seed=20180)' where not given; the run must not be trained on that seed. RUN was
    trained on 'tracking'.
    """
    return tfssl.evaluate_tracking(**arguments)


@command("tfssl.evaluation.config:EvaluateWordsSettings", "evaluate-words")
def evaluate_words(**arguments: Any) -> Any:
    """Measure word vectors: analogies, people's scores, the loss on held-out text, neighbours; beside random vectors.

    DATA is a text that the run has not seen, as text:held-out.txt. RUN was trained on 'word2vec'.
    """
    return tfssl.evaluate_words(**arguments)


@command("tfssl.evaluation.config:PretextSettings")
def pretext(**arguments: Any) -> Any:
    """How well does a run solve its own puzzles, made of DATA that it never saw?"""
    return tfssl.pretext(**arguments)


@command("tfssl.evaluation.config:RetrieveSettings")
def retrieve(**arguments: Any) -> Any:
    """Search labelled clips by picture and by sound, each by the other: nDCG and recall, beside chance."""
    return tfssl.retrieve(**arguments)


@command("tfssl.evaluation.config:NeighboursSettings")
def neighbours(**arguments: Any) -> Any:
    """Draw pictures, patches or frames of clips with what is nearest in features, beside random weights and others.

    SUBJECT, and each of --beside, is what evaluate takes: a run, an export, a .keras file, a trunk's name. Neighbours
    are never of the query's recording, nor near-duplicates of it, unless --duplicates is given.
    """
    return tfssl.neighbours(**arguments)


@command("tfssl.evaluation.config:LookSettings")
def look(**arguments: Any) -> Any:
    """Look at a collection through a network: map, near-duplicates, outliers, what is confused, what to label first.

    SUBJECT is what evaluate takes: a run, an export, a .keras file, a trunk's name. DATA of train/ and test/ is looked
    at as a whole, and what test knows of train is said. selected.csv goes to finetune --labels once it has labels.
    """
    return tfssl.look(**arguments)


@command("tfssl.evaluation.config:InsideSettings")
def inside(**arguments: Any) -> Any:
    """Draw what a network sees in pictures: first filters, its maps as colours, what is like a place that one clicks.

    SUBJECT is what evaluate takes. PICTURES are files, or one folder, toy:images or tfds:NAME to draw some from.
    """
    return tfssl.inside(**arguments)
