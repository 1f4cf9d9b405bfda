"""The runs of a study: each pretrained and evaluated once, in a folder that can be resumed."""

import dataclasses
import gc
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfssl.base.config import spelled
from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.base.words import counted
from tfssl.evaluation.evaluate import evaluate
from tfssl.evaluation.labelled import check_labels
from tfssl.evaluation.protocols import choose
from tfssl.models.trunks.opening import open_trunk
from tfssl.pipelines import batches
from tfssl.pipelines.sources.any_source import open_source, open_splits
from tfssl.pipelines.sources.subsets import limited
from tfssl.runs import listing
from tfssl.runs.config import RATES
from tfssl.runs.evaluation import Evaluation, read_evaluation
from tfssl.runs.run import Run, load_run
from tfssl.studies.config import CompareSettings, PassedOn, SweepSettings
from tfssl.studies.progress import Progress
from tfssl.tasks import parse_tasks
from tfssl.tasks.base import PretextTask
from tfssl.training.pretrain import pretrain

Tasks = str | PretextTask | Sequence[str | PretextTask]

FILE_NAME = "study.json"
PROTOCOLS = {protocol.name: protocol.title for protocol in choose("linear, linear_pooled, knn")}
"""Name and title of those that a study measures: a probe of a grid, and two of what `export` gives, the mean over all
places. A figure that shows one only shows the first."""
MAIN = next(iter(PROTOCOLS))
EPOCHS, LEAST_STEPS = 10, 20  # points of a run's learning curve, and steps between; an epoch is nothing else here
DEFAULTS = {name: field.default for name, field in PassedOn.model_fields.items()}
"""Defaults of the settings that a study passes on to its runs."""
RECIPE = 2
"""How trials are pretrained, divided and measured: raised where figures are no longer those of the one before."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run that has ended and its evaluation.

    Attributes:
      tasks: as text.
      seed: of the run.
      run: the run.
      evaluation: of its encoder.
      earlier: steps -> evaluation of the trunk as it was then, where these were asked for.
    """

    tasks: str
    seed: int
    run: Run
    evaluation: Evaluation
    earlier: Mapping[int, Evaluation]

    @property
    def seconds(self) -> float:
        """What training and evaluations took, about."""
        speed = self.run.result["images_per_second"]
        training = self.run.result["steps"] * self.run.settings.batch_size / speed if speed else 0.0
        evaluations = [self.evaluation, *self.earlier.values()]
        return float(training + sum(evaluation.details["seconds"] for evaluation in evaluations))


class Study:
    """Trials in one folder, made one after another; those that exist are not made again.

    Attributes:
      folder: `study.json`, the table, the figure, and `runs/TASKS/seed0` and on.
      settings: what all trials share.
    """

    def __init__(self, kind: str, given: CompareSettings | SweepSettings, every: int | None = None):
        if every is not None and given.steps % every:
            raise UserError(
                f"{spelled('every', every)} is given, expected a divisor of {spelled('steps', given.steps)}, as"
                f" {given.steps // epochs_of(given.steps)}"
            )
        open_trunk(given.trunk, given.size)  # refused here if it does not fit
        self._more = given_on(given)
        self.folder = given.out
        whole = given.data if given.labelled is None else given.labelled
        train, held_out, _ = open_splits(whole, test=given.test, seed=given.split_seed, max_broken=given.max_broken)
        # Where nothing else is given, not on what is tested on: a figure is to be of pictures that the run never saw.
        self._source = train if given.labelled is None else open_source(given.data, given.max_broken)
        if given.batch_size > self._source.count:
            raise batches.batch_too_large(given.batch_size, self._source)
        check_labels(train, held_out)
        self.train = limited(train, given.limit, balanced=True, seed=given.split_seed)
        self.held_out = limited(held_out, given.test_limit, balanced=False, seed=given.split_seed)
        self.every, self.steps = every, given.steps
        self._steps_per_epoch = every or given.steps // epochs_of(given.steps)
        self._max_broken = given.max_broken
        self._verbose = given.verbose
        self.settings: dict[str, Any] = {
            "data": self._source.name,
            "labelled": self.train.name,
            "test": self.held_out.name,
            **given.model_dump(include={"trunk", "size", "steps", "batch_size", "split_seed"}),
            "every": every,
            **self._more,
            "fingerprint of the data": self._source.fingerprint,
            "fingerprint of the labelled data": self.train.fingerprint + self.held_out.fingerprint,
        }
        self.kind = kind
        self._known = self._match()
        self._asked = self._known

    def _match(self) -> list[tuple[str, int]]:
        """Return trials (tasks, seed) that the folder's study was asked for. Raise UserError where it is another."""
        path = self.folder / FILE_NAME
        if not path.exists():
            if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
                raise UserError(f"{self.folder} exists and is no study; choose a new or empty folder for --out")
            return []
        try:
            content = json.loads(path.read_text())
            # Earlier versions also wrote down what was given and is the default.
            kept = {"kind": content["kind"]} | _without_defaults(content["settings"])
            trials = [(str(tasks), int(seed)) for tasks, seed in content["trials"]]
        except (ValueError, KeyError, TypeError) as problem:
            raise UserError(f"{path} cannot be read ({problem}); choose another folder for --out") from problem
        if content.get("recipe") != RECIPE:
            raise UserError(
                f"{self.folder} holds a study of another version of tfssl, whose figures these cannot stand beside;"
                " choose another --out"
            )
        given = {"kind": self.kind} | self.settings
        for key in given | kept:
            if given.get(key) != kept.get(key):
                if key.startswith("fingerprint"):
                    raise UserError(
                        f"{self.folder} holds a study whose {key.removeprefix('fingerprint of the ')} has changed since"
                        f"{self._changes(key)}; choose another --out, or give what the study began with"
                    )
                raise UserError(
                    f"{self.folder} holds a study with {key} {kept.get(key)!r}, now {given.get(key)!r} is given;"
                    " choose another --out, or give what the study began with"
                )
        return trials

    def _changes(self, key: str) -> str:
        """Say what has changed in the data, where one of the study's runs knows it."""
        run = next(iter(sorted(self.folder.glob("runs/*/*/run.json"))), None)
        known = run is not None and key == "fingerprint of the data"
        return f": {listing.changes(load_run(run.parent), self._source)}" if known else ""  # type: ignore[union-attr]

    def write(self, content: dict[str, Any]) -> None:
        """Write `study.json`: settings, what was asked for, and what was found."""
        head = {"kind": self.kind, "recipe": RECIPE, "settings": self.settings, "trials": self._asked}
        write_json(self.folder / FILE_NAME, head | content)

    def make(self, wanted: Sequence[tuple[str, int]]) -> Iterator[list[Trial]]:
        """Make trials, (tasks, seed) each, those that the folder's study was asked for before included.

        A trial is pretrained where it has not ended, and evaluated where it was not. The random weights of a seed are
        evaluated once. One that fails on the way, because its loss is no longer finite, say, does not stop the others.

        Yields:
          All trials that are there, after each one: tasks in the order in which they were first asked for.

        Raises:
          UserError: a trial that cannot begin; or after all others are made, that some failed.
        """
        wanted = list(dict.fromkeys([*self._known, *wanted]))
        names = list(dict.fromkeys(name for name, _ in wanted))
        self._check_batches(names)
        self._asked = sorted(wanted, key=lambda trial: names.index(trial[0]))
        self.write({})
        progress = Progress(len(wanted))
        made: dict[tuple[str, int], Trial] = {}
        failed: list[str] = []
        there = {trial for trial in wanted if read_evaluation(self._run_folder(*trial)) is not None}
        # First what is there, or the table would lack it until the end. Then seed by seed: a study that is stopped has
        # compared all tasks on the seeds that it has.
        for tasks, seed in sorted(wanted, key=lambda trial: (trial not in there, trial[1], names.index(trial[0]))):
            baseline = next((t.evaluation for (_, other), t in made.items() if other == seed), None)

            def say(what: str, tasks: str = tasks, seed: int = seed) -> None:
                progress.say(f"{tasks}, seed {seed}: {what}")

            try:
                made[tasks, seed] = self._trial(tasks, seed, baseline, say)
            except UserError as problem:
                if not (self._run_folder(tasks, seed) / "checkpoints").exists():
                    self._keep([trial for trial in self._known if trial != (tasks, seed)])
                    raise
                say(f"failed: {problem}")
                failed.append(f"{tasks}, seed {seed}: {problem}")
                self._keep([trial for trial in self._asked if trial != (tasks, seed)])
                progress.ended(None)
                continue
            progress.ended(made[tasks, seed].seconds)
            yield [made[trial] for trial in self._asked if trial in made]
        if failed:
            raise UserError(
                f"{len(failed)} of {len(wanted)} runs failed, the first of them {failed[0]};"
                f" {self.folder}/table.md has those that did not"
            )

    def _check_batches(self, names: Sequence[str]) -> None:
        for task in (task for name in names for task in parse_tasks(name)):
            if task.batch > self.settings["batch_size"]:
                given = f"{task.name}: batch={task.batch} is given"
                raise UserError(f"{given}, but a step has {self.settings['batch_size']} pictures; give at most that")

    def _keep(self, asked: list[tuple[str, int]]) -> None:
        """Leave these trials in `study.json` as asked for: one that failed is not tried by every later call."""
        self._asked = asked
        path = self.folder / FILE_NAME
        if asked or (self.folder / "runs").exists():
            write_json(path, json.loads(path.read_text()) | {"trials": asked})
        else:
            path.unlink()
            self.folder.rmdir()

    def _run_folder(self, tasks: str, seed: int) -> Path:
        return self.folder / "runs" / slug(tasks) / f"seed{seed}"

    def _trial(self, tasks: str, seed: int, baseline: Evaluation | None, say: Callable[[str], None]) -> Trial:
        run = self._pretrained(tasks, seed, say)
        evaluation = self._evaluate(run, None, baseline or True, say)
        epochs = range(1, self.steps // self._steps_per_epoch) if self.every else ()
        earlier = {epoch * self._steps_per_epoch: self._evaluate(run, epoch, False, say) for epoch in epochs}
        return Trial(tasks, seed, run, evaluation, earlier)

    def _pretrained(self, tasks: str, seed: int, say: Callable[[str], None]) -> Run:
        folder = self._run_folder(tasks, seed)
        if (folder / "result.json").exists():
            return load_run(folder)
        say(f"pretraining, {counted(self.steps, 'step')}")
        keep: dict[str, Any] = {} if self.every is None else {"keep_every": 1}
        run = pretrain(
            self._source,
            tasks,
            trunk=self.settings["trunk"],
            size=self.settings["size"],
            epochs=self.steps // self._steps_per_epoch,
            steps_per_epoch=self._steps_per_epoch,
            batch_size=self.settings["batch_size"],
            seed=seed,
            max_broken=self._max_broken,
            out=folder,
            report=False,
            verbose=self._verbose,
            **keep,
            **self._more,
        )
        gc.collect()  # the graph of a run lies in reference cycles
        return run

    def _evaluate(
        self, run: Run, epoch: int | None, random: bool | Evaluation, say: Callable[[str], None]
    ) -> Evaluation:
        kept = read_evaluation(run.folder, epoch)
        if kept is not None and self._is_ours(kept) and (kept.random or random is False):
            return kept
        say(
            "evaluating"
            if epoch is None
            else f"evaluating what it was after {counted(epoch * self._steps_per_epoch, 'step')}"
        )
        made = evaluate(
            run,
            self.train,
            self.held_out,
            tuple(PROTOCOLS),
            random=random,
            epoch=epoch,
            max_broken=self._max_broken,
            report=False,
        )
        gc.collect()
        return made

    def _is_ours(self, evaluation: Evaluation) -> bool:
        """Check that it is of this study's pictures and protocols: a run's folder is open to `tfssl evaluate` too.

        One of an earlier version, whose choices were made on the test pictures, is made again.
        """
        if "held_out_images" not in evaluation.details:
            return False
        names = {"data": self.train.name, "test": self.held_out.name}
        return set(PROTOCOLS) <= set(evaluation.trained) and names == {key: evaluation.details[key] for key in names}


def epochs_of(steps: int) -> int:
    """Return into how many epochs of equal length, at most ten, `steps` steps are divided."""
    return max(n for n in range(1, max(1, min(EPOCHS, steps // LEAST_STEPS)) + 1) if steps % n == 0)


def canonical(tasks: Tasks) -> str:
    """Return tasks as the text that a run records. Raise UserError where they are none."""
    return ", ".join(map(str, parse_tasks(tasks)))


def slug(tasks: str) -> str:
    """'jigsaw(classes=4), rotation' -> 'jigsaw_classes=4+rotation', short enough for the name of a folder."""
    short = re.sub(r"\)?, (?=[a-z_]+(\(|,|$))", "+", tasks)
    short = re.sub(r"[^\w.=+-]+", "_", short).strip("_")
    return short if len(short) <= 100 else f"{short[:80]}-{hashlib.sha256(tasks.encode()).hexdigest()[:8]}"


def given_on(given: PassedOn) -> dict[str, Any]:
    """Return what a study passes on to each of its runs: the settings that are not their defaults."""
    return _without_defaults({name: getattr(given, name) for name in DEFAULTS})


def _without_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    rate = RATES[settings.get("optimizer", "sgd")]  # it may be given, or left to the optimizer
    return {
        name: value
        for name, value in settings.items()
        if value != DEFAULTS.get(name) and not (name == "learning_rate" and value == rate)
    }


def check_more(more: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse names that a study does not pass on; leave out what is None."""
    for name in more:
        if name in ("epochs", "steps_per_epoch"):
            raise UserError(f"{name} is given; a study counts its training in steps: give steps")
        if name not in PassedOn.model_fields:
            known = ", ".join(PassedOn.model_fields)
            raise UserError(f"pretrain has no setting {name!r} that a study can pass on; these are: {known}")
    return {name: value for name, value in more.items() if value is not None}
