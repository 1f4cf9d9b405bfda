"""Settings of `finetune`."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from tfssl.base.config import Commas, Count, Positive, Seed, Settings, Share, option, split, subject
from tfssl.runs.config import Pace

Start = Literal["scratch", "frozen", "random"]
"""What a fine-tuned network is compared with: see `tfssl.downstream.beside`."""
TargetName = Literal["classes", "keypoints", "segmentation", "normals", "detection"]
"""What is learned: see `tfssl.downstream.classes` and `tfssl.downstream.dense`."""
ONLY_CLASSES: dict[str, Any] = {"mixup": 0.0, "label_smoothing": 0.0, "class_weights": False, "labels_per_class": ()}
"""Settings that are for classes alone, with what they are where not given."""


def _several(given: Any) -> Any:
    return [given] if isinstance(given, (int, float)) else split(given)


Several = pydantic.BeforeValidator(_several)
"""For numbers, of which one may be given alone, and which may be one text with commas."""
Below1 = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[float, Field(gt=0, le=1)]


class Learning(Settings):
    """How a network learns from labels: the same for all that are compared."""

    stage: str | None = option("Where the trunk is cut; the last where not given, best: what evaluate found.", None)
    freeze: str | None = option("Stages up to this one stay as they are.", None)
    steps: Count = option("Steps of each candidate.", 1000)
    batch_size: Count = option("Pictures in a step.", 64)
    learning_rates: Annotated[tuple[Positive, ...], Several] = option(
        "Peaks that validation chooses among, commas between them.", (0.0003, 0.001, 0.003)
    )
    weight_decays: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Several] = option(
        "Weight decays that validation chooses among.", (0.01,)
    )
    optimizer: Literal["adamw", "sgd"] = option("SGD has Nesterov momentum 0.9 and L2.", "adamw")
    stage_decay: Decay = option("The learning rate of a stage is that of the next one times this.", 1.0)
    warm_up: Share = option("Part of the steps in which the learning rate rises.", 0.1)
    batch_norm: Literal["train", "test"] | None = option(
        "Its mode; test where fewer than 5,000 pictures are learned from.", None
    )
    crop: bool = option("Random crops; else the centred square.", True)
    flip: bool = option("Mirror half of the pictures.", True)
    colour: Share = option("Largest change of brightness, contrast and saturation.", 0.0)
    mixup: Annotated[float, Field(ge=0)] = option("alpha of mixup; 0 for none.", 0.0)
    label_smoothing: Below1 = option("Part of a label that all classes share.", 0.0)
    class_weights: bool = option("Rare classes count more, so that all count the same.", False)
    ema: Below1 | None = option("Momentum of a moving average of the weights, as 0.99.", None)
    refit: bool = option("Learn from the validation part too, once it has chosen, where it was divided off.", True)
    seed: Seed = option("Divisions, draws, order and crops follow from it.", 0)
    deterministic: bool = option("Bit-identical repeats and resumes; slower.", False)


class FinetuneSettings(Pace, Learning):
    """All arguments of `finetune`. Those of `Learning` decide on the weights."""

    run: Any = subject("RUN")
    data: Any = subject("DATA", None)
    out: Path = option("Folder of the network. That of an interrupted call is resumed.")
    target: TargetName = option("What is learned: what a picture shows, or something at its places.", "classes")
    labels: Path | None = option("labels.csv: file, label (several with ; between), joints.json, or COCO's JSON.", None)
    groups: str | None = option("Regular expression: files with the same match stay in one part.", None)
    by_time: bool = option("DATA are frames of a film in order: the last ones are divided off.", False)
    intrinsics: Annotated[tuple[float, ...], Several] = option(
        "FX,FY,CX,CY of the camera, in pixels of the depth: for normals from depth.", ()
    )
    trunk: Any = option("In place of RUN: a name, which begins from random weights, or a .keras file.", None)
    size: Count | None = option("Side of the pictures in pixels; the run's where not given, else 96.", None)
    beside: Annotated[tuple[Start, ...], Commas] = option("Compare with: scratch,frozen,random or some.", ())
    labels_per_class: Annotated[tuple[Count, ...], Several] = option("Use so many labels a class, as 5,10,20.", ())
    fraction: Annotated[tuple[Decay, ...], Several] = option("Use these parts of the labels, as 0.01,0.1.", ())
    draws: Count = option("Draws of so many labels, for an interval over them.", 1)
    max_broken: Share = option("Largest part of unreadable pictures.", 0.01)
    report: bool = option("Write report.html at the end.", True)
    verbose: Literal[0, 1, 2] = option("1 a progress bar, 2 a line an epoch, 0 nothing.", 1)

    @pydantic.model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.labels_per_class and self.fraction:
            raise ValueError("--labels-per-class and --fraction are given; leave one out")
        if self.draws > 1 and not self.labels_per_class and not self.fraction:
            raise ValueError(
                f"--draws {self.draws} is given, but all labels are used; give --labels-per-class or --fraction"
            )
        if not self.learning_rates or not self.weight_decays:
            raise ValueError("no --learning-rates or no --weight-decays are given, expected one of each at least")
        if self.intrinsics and (len(self.intrinsics) != 4 or min(self.intrinsics[:2]) <= 0):
            shown = ",".join(f"{each:g}" for each in self.intrinsics)
            raise ValueError(f"--intrinsics {shown} is given, expected FX,FY,CX,CY, of which the first two are above 0")
        if self.target == "classes":
            dense = {"--by-time": self.by_time, "--intrinsics": self.intrinsics}
            for name, is_given in dense.items():
                if is_given:
                    raise ValueError(f"{name} is given, and --target classes; leave it out, or give another --target")
            return self
        wrong = [name for name, usual in ONLY_CLASSES.items() if getattr(self, name) != usual]
        wrong += ["labels"] if self.labels is not None and self.target not in ("keypoints", "detection") else []
        wrong += ["intrinsics"] if self.intrinsics and self.target != "normals" else []
        if wrong:
            name = wrong[0].replace("_", "-")
            raise ValueError(f"--{name} is given, and is not for --target {self.target}; leave it out")
        return self
