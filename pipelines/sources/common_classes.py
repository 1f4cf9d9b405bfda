"""One list of classes for two labelled sources, one trained on and one tested on."""

import dataclasses

import numpy as np

from tfssl.base.errors import UserError
from tfssl.pipelines.sources.source import AnySource


def share(train: AnySource, test: AnySource) -> tuple[AnySource, AnySource, str]:
    """Give two labelled sources the classes of either, and say which only one of them has.

    A class without training pictures is never answered, so its test pictures are wrong.

    Returns:
      The sources, and the rest of a sentence, '; classes in training only: dog', or ''.

    Raises:
      UserError: no class in common.
    """
    if train.classes != test.classes:
        if not set(train.classes) & set(test.classes):
            shown = " and ".join(", ".join(each.classes[:3]) for each in (train, test))
            raise UserError(f"{train.name} and {test.name} have no class in common ({shown}); both need the same")
        classes = (*train.classes, *(name for name in test.classes if name not in train.classes))
        number = {name: place for place, name in enumerate(classes)}
        place = np.array([number[name] for name in test.classes])
        labels = np.asarray(test.labels)
        labels = np.where(labels >= 0, place[labels], labels).astype(np.int32)
        train = dataclasses.replace(train, classes=classes)
        test = dataclasses.replace(test, classes=classes, labels=labels)
    return train, test, _say_one_sided(train, test)


def _say_one_sided(train: AnySource, test: AnySource) -> str:
    trained, tested = (
        np.bincount(labels[labels >= 0], minlength=len(train.classes))
        for labels in (np.asarray(train.labels), np.asarray(test.labels))
    )
    sentence = ""
    if only := [train.classes[number] for number in np.flatnonzero((trained > 0) & (tested == 0))]:
        sentence += f"; classes in training only: {_shorten(only)}"
    if only := [train.classes[number] for number in np.flatnonzero((trained == 0) & (tested > 0))]:
        wrong = int(tested[trained == 0].sum())
        sentence += f"; classes in the test only: {_shorten(only)}, so that {wrong} of its {test.items} are wrong"
    return sentence


def _shorten(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
