"""What is measured, or learned from: a run, an export, a file of a trunk, a trunk's name with or without weights."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import keras

from tfssl.base.errors import NewerFormatError, UserError
from tfssl.base.files import require_text
from tfssl.base.specs import parse_call
from tfssl.export.signatures.bounds import MAX_ROWS
from tfssl.export.versions import DESCRIPTION, description, newest_version
from tfssl.frozen import features
from tfssl.models.trunks import TRUNKS, Trunk
from tfssl.models.trunks.files import read_model, side_of, trunk_of, with_random_weights
from tfssl.models.trunks.networks import find
from tfssl.models.trunks.opening import open_trunk
from tfssl.runs import projections
from tfssl.runs.run import Run, load_run
from tfssl.tasks.parts.two_views import TwoViews

SIZE = 96
"""Pixels of a side where nothing says it."""
BATCH = 64
"""Pictures of a batch that batch norm statistics of random weights are estimated on, where no run says it."""

Kind = Literal["run", "export", "file", "name"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A frozen network.

    Attributes:
      name: in words: a run's folder, a file, "resnet18".
      kind: what it was given as; a Keras model is a "file".
      size: pixels of a side.
      own_size: those that it says itself; None where it says nothing.
      seed: of random weights.
      trained: the trunk with its weights; None where a name says none, and of an export.
      make_random: makes the same trunk with random weights; None of an export, which has its weights only.
      run: the run, where it is one.
      embedding: of an export, what `features.stage_model` is of a trunk, its one map with one place.
      projections: of a run, which projection heads are measured beside its stages, see `runs.projections`.
    """

    name: str
    kind: Kind
    size: int
    own_size: int | None
    seed: int
    trained: Trunk | None = None
    make_random: Callable[[], Trunk] | None = None
    run: Run | None = None
    embedding: keras.Model | None = None
    projections: Mapping[str, TwoViews] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def random(self) -> Trunk:
        """The trunk with random weights, which follow from the seed; a run's are those that it began with."""
        assert self.make_random is not None
        if self.run is None:
            keras.utils.set_random_seed(self.seed)
        return self.make_random()

    @property
    def is_random(self) -> bool:
        """Whether it has random weights itself."""
        return self.trained is None and self.embedding is None

    @property
    def has_random(self) -> bool:
        """Whether there is the same network with random weights to compare it with."""
        return self.make_random is not None and not self.is_random

    @functools.cached_property
    def network(self) -> keras.Model:
        """What is measured: uint8 [N, size, size, 3] -> {stage: map}."""
        if self.embedding is not None:
            return self.embedding
        trunk = self.random if self.trained is None else self.trained
        if self.run is None or not self.projections:
            return features.stage_model(trunk, self.size)
        more = functools.partial(projections.beside, run=self.run, tasks=self.projections)
        return features.stage_model(trunk, self.size, more)

    @property
    def batch_size(self) -> int:
        """Pictures of a batch that batch norm statistics of random weights are estimated on."""
        return BATCH if self.run is None else self.run.settings.batch_size

    @property
    def most_rows(self) -> int | None:
        """How many pictures go through the network at once at most."""
        return None if self.embedding is None else MAX_ROWS


def open_subject(
    given: Any, size: int | None = None, usual: int = SIZE, epoch: int | None = None, seed: int | None = None
) -> Subject:
    """Open a frozen network.

    Args:
      given: a run or its folder; a folder that `export` wrote, or one version in it; a .keras file or a Keras model (an
        encoder of this package, or a trunk float [N, S, S, 3] -> float [N, h, w, C]); a trunk's name, alone for random
        weights, or with weights as `pretrained.make_pretrained` takes it.
      size: pixels of a side; what the subject itself says where None, an export always.
      usual: that of one that says nothing, where `size` is None.
      epoch: of a run, the trunk as it was after it.
      seed: of random weights; a run's own where None, else 0.

    Raises:
      UserError: nothing like this is there, or an epoch of what is no run.
    """
    if isinstance(given, Run) or (isinstance(given, (str, Path)) and (Path(given) / "run.json").is_file()):
        return _of_run(load_run(given), size, epoch, seed)
    if epoch is not None:
        raise UserError(f"--epoch {epoch} is given, but {given} is no run; leave it out")
    seed = seed or 0
    if isinstance(given, keras.Model) or str(given).endswith(".keras"):
        return _of_file(given, size, usual, seed)
    if os.path.isdir(given):
        return _of_export(given, seed)
    return _of_name(str(given), size or usual, seed)


def with_projections(subject: Subject) -> Subject:
    """Return the subject, its projection heads measured too. Raise UserError where it is no run, or has none."""
    if subject.run is None:
        raise UserError(f"--projection is given, but {subject.name} is no run and has no projection head; leave it out")
    return dataclasses.replace(subject, projections=projections.projected_tasks(subject.run))


def _of_run(run: Run, size: int | None, epoch: int | None, seed: int | None) -> Subject:
    own = run.settings.size
    return Subject(
        name=str(run.folder),
        kind="run",
        size=size or own,
        own_size=own,
        seed=run.settings.seed if seed is None else seed,
        trained=run.trunk() if epoch is None else run.trunk(epoch),
        make_random=run.random_trunk,
        run=run,
    )


def _of_file(given: Any, size: int | None, usual: int, seed: int) -> Subject:
    name, model = (given.name, given) if isinstance(given, keras.Model) else (str(given), read_model(given))
    own = side_of(model)
    pixels = size or own or usual
    trunk = trunk_of(model, pixels)
    return Subject(
        name=name,
        kind="file",
        size=pixels,
        own_size=own,
        seed=seed,
        trained=trunk,
        make_random=lambda: with_random_weights(trunk),
    )


def _of_export(given: Any, seed: int) -> Subject:
    require_text(Path(given))
    try:
        version = newest_version(given)
    except NewerFormatError:
        raise
    except UserError as problem:
        raise UserError(
            f"{given} is no run and no export; expected a folder that pretrain or export wrote, a .keras file (such as"
            " encoder.keras or classifier.keras), or a trunk's name"
        ) from problem
    about = description(version)
    if "size" not in about:
        raise UserError(f"{version} does not say the size of its pictures (no {DESCRIPTION}); export the run again")
    size = int(about["size"])
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    embedding = keras.layers.TFSMLayer(version, call_endpoint="pixels")(images)["embedding"]
    places = keras.layers.Reshape((1, 1, embedding.shape[1]))(embedding)
    return Subject(
        name=str(given),
        kind="export",
        size=size,
        own_size=size,
        seed=seed,
        embedding=keras.Model(images, {str(about.get("layer", "embedding")): places}),
    )


def _of_name(text: str, size: int, seed: int) -> Subject:
    try:
        name, settings = parse_call(text)
    except UserError:
        name, settings = "", {}
    if name not in TRUNKS and "weights" not in settings and find(name) is None:
        raise UserError(
            f"{text} is no run, no export, no .keras file and no trunk's name; trunks are: {', '.join(sorted(TRUNKS))},"
            " and all of keras.applications, with weights as in \"mobilenet_v3_small(weights='imagenet')\""
        )
    keras.utils.set_random_seed(seed)
    made = open_trunk(text, size)
    trained = made if "weights" in settings else None
    return Subject(
        name=text,
        kind="name",
        size=size,
        own_size=None,
        seed=seed,
        trained=trained,
        make_random=lambda: made if trained is None else with_random_weights(made),
    )


def open_start_of(subject: Subject) -> Subject | None:
    """Open the weights that a run began with where these were not random ones: another frozen network beside it."""
    trunk = None if subject.run is None else subject.run.start_trunk()
    if subject.run is None or trunk is None:
        return None
    return Subject(
        name=f"start weights {subject.run.settings.trunk}",
        kind="file",
        size=subject.size,
        own_size=subject.own_size,
        seed=subject.seed,
        trained=trunk,
        make_random=subject.run.random_trunk,
    )
