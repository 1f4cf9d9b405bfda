"""Commands: from data to a run."""

from typing import Any

import tfssl
from tfssl.cli.options import command


@command("tfssl.starting.config:QuickstartSettings")
def quickstart(**arguments: Any) -> Any:
    """Do all of it once, within some minutes: puzzles, training, figures, a classifier, export.

    PHOTOS is a folder; its sub-folders are classes, where it has any. What fits the pictures and this machine is
    measured. Each part prints the command that it is. Killed and started again, it resumes where it was.
    """
    return tfssl.quickstart(**arguments)


@command("tfssl.report.config:ShowSettings")
def show(**arguments: Any) -> Any:
    """Draw puzzles with their answers: the first thing to look at."""
    return tfssl.show(**arguments)


@command("tfssl.pipelines.config:IngestSettings")
def ingest(**arguments: Any) -> Any:
    """Turn a folder of films and sounds into a data set for the tasks on clips.

    Started again after an interruption, it resumes. Needs the extra 'video'.
    """
    return tfssl.ingest(**arguments)


@command("tfssl.training.config:PretrainSettings")
def pretrain(**arguments: Any) -> Any:
    """Train an encoder on pretext tasks. Killed and started again, it resumes where it was."""
    return tfssl.pretrain(**arguments)


@command("tfssl.downstream.config:FinetuneSettings")
def finetune(**arguments: Any) -> Any:
    """Make a classifier from a run and labelled pictures. Killed and started again, it resumes where it was.

    DATA has a folder for each class, or --labels. Without a run: tfssl finetune DATA --trunk resnet18 --out DIR.
    With --target detection, keypoints, segmentation or normals a network that says something of places in the picture.
    """
    return tfssl.finetune(**arguments)
