"""A run is a folder: settings, checkpoints, metrics, the encoder, the report.

What lies in it:

    run.json          settings, versions, fingerprint of the data
    learned.npz       what tasks learned from the data that is too large for run.json: the vocabulary of a text
    seen.npz          hashes of what it was pretrained on
    listing.txt.gz    the names of the files that this was, where it was files
    checkpoints/      the newest two; each holds all that a bit-identical continuation needs
    metrics.jsonl     a line every few steps, with means over the steps since the line before it, and one at the end of
                      each epoch ("epoch_end"), with means over the epoch, and what was watched
    tensorboard/      the same for TensorBoard, as "steps" and as "train"
    random.keras      the trunk as it was before training, or with random weights where these were given
    start.keras       the trunk with the weights that were given, where they were: see `RunSettings.start`
    encoder.keras     the trunk after training, with precise batch norm; of the moving average, where there is one
    sound_random.keras, sound_encoder.keras    the same of the sound encoder, where a task listens
    words_random.keras, words_encoder.keras    in place of trunks the table of words of a run on text
    heads/            TASK.npz: the network that solves a task, with batch norm statistics of its puzzles
    epochs/           N.keras: the trunk after epoch N, where it was asked for
    broken.txt        pictures that could not be read
    result.json       what the run ended with
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfssl.base.errors import UserError
from tfssl.base.files import require_text, write_json
from tfssl.base.keras_state import plain_keras
from tfssl.base.result import Result
from tfssl.base.words import counted
from tfssl.runs import learned_files
from tfssl.runs.config import RunSettings
from tfssl.runs.watch import FIGURES

if TYPE_CHECKING:
    import keras

    from tfssl.models.trunks import Trunk
    from tfssl.tasks.base import PretextTask

FORMAT = 2
"""Format of run.json. 1 (not written): heads that classify read features as they are. 2: `tasks.classification`."""

_BEFORE = {"optimizer": "sgd", "accumulate": 1}
"""What runs were made with before run.json said it."""


@dataclasses.dataclass(frozen=True)
class Run(Result):
    """A folder of a pretraining run.

    Attributes:
      folder: where it is.
      settings: the arguments of `pretrain` that decide on its weights.
      data: name, count and fingerprint of the source.
      prepared: "learned": what each task learned from the source; "scales": what its loss is divided by; "sound":
        what the sound encoder is made from; "learning_rate": what a range test found, where one was asked for.
      format: the format of run.json, see `FORMAT`.
    """

    folder: Path
    settings: RunSettings
    data: dict[str, Any]
    prepared: dict[str, Any]
    format: int = FORMAT

    @property
    def result(self) -> dict[str, Any]:
        """run, epochs, steps, images_per_second, metrics, broken_files; {} as long as the run has not ended.

        Where the run was watched "watch" has the last figures, see `tfssl.runs.watch`; where it ended before its last
        epoch "stopped" says why.
        Of a text, words_per_second.
        """
        path = self.folder / "result.json"
        return json.loads(path.read_text()) if path.exists() else {}

    @property
    def versions(self) -> dict[str, str]:
        """Package -> version, of what the run began with: see `tfssl.base.environment`."""
        return json.loads((self.folder / "run.json").read_text()).get("versions", {})

    @property
    def peak(self) -> float:
        """The learning rate after warm-up: that of the settings, or what a range test chose."""
        found = self.prepared.get("learning_rate")
        return float(found["chosen"]) if found else self.settings.peak

    @property
    def words(self) -> dict[str, Any] | None:
        """Of a run on text: "count" of its words and "dimensions" of their vectors; None of others."""
        return self.prepared.get("words")

    def learned(self, name: str) -> dict[str, Any]:
        """Return what a task learned from the source: see `PretextTask.with_learned`."""
        return learned_files.read(self.folder, name, self.prepared["learned"][name])

    @property
    def sound(self) -> dict[str, Any] | None:
        """Settings of the sound encoder: "trunk" (its name), "samples" and "rate" (hertz) of its window, or None."""
        return self.prepared.get("sound")

    def random_path(self, kind: str = "image") -> Path:
        """Return where an encoder ("image" or "sound") lies with random weights: mostly those it began with."""
        return self.folder / ("random.keras" if kind == "image" else f"{kind}_random.keras")

    @property
    def start_path(self) -> Path:
        """Where the trunk lies with the weights that the run began with, if these were not random ones."""
        return self.folder / "start.keras"

    def trained_path(self, kind: str = "image", epoch: int | None = None) -> Path:
        """Return where a trained encoder lies, as it was after an epoch, or at the end."""
        if epoch is not None:
            return self.folder / "epochs" / ("" if kind == "image" else kind) / f"{epoch}.keras"
        return self.folder / ("encoder.keras" if kind == "image" else f"{kind}_encoder.keras")

    @property
    def evaluation(self) -> dict[str, Any]:
        """The result of the last `tfssl.evaluate`, {} where it was not asked."""
        path = self.folder / "evaluation.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def tasks(self) -> "list[PretextTask]":
        """Return the tasks that the run was trained on, prepared as they were."""
        from tfssl.tasks import parse_tasks

        return [task.with_learned(self.learned(task.name)) for task in parse_tasks(self.settings.tasks)]

    @plain_keras()
    def solver(self, task: str, inputs: Any = None) -> "keras.Model":
        """Load the trained network of one task: puzzle -> what its head gives; of a run in progress, as last saved.

        Args:
          task: its name.
          inputs: Keras inputs to build it on, in the structure of the task's puzzles, for fully convolutional heads
            at other sizes, say; those of the run's own size where not given.

        Raises:
          UserError: the run has no such task, or has saved nothing yet.
        """
        from tfssl.runs import heads

        return heads.load(self, task, inputs)

    def epochs(self) -> list[int]:
        """Return the epochs after which the trunk was kept (`keep_every`)."""
        return sorted(
            int(path.stem) for path in self.trained_path("words" if self.words else "image", 0).parent.glob("*.keras")
        )

    def trunk(self, epoch: int | None = None, kind: str = "image") -> "Trunk":
        """Load a trained trunk, with precise batch norm; as it was after an epoch of `epochs()`, or else at the end.

        Args:
          epoch: one of `epochs()`; None for the end.
          kind: "image", or "sound" where a task listened.

        Raises:
          UserError: the run has not ended, did not keep that epoch, or has no sound encoder.
        """
        if epoch is not None and epoch not in self.epochs():
            raise UserError(f"epoch {epoch} is asked for, but the run in {self.folder} kept {self.epochs() or 'none'}")
        return self._load(self.trained_path(kind, epoch), kind)

    def random_trunk(self, kind: str = "image") -> "Trunk":
        """Load a trunk with random weights: those it began with, or where it began with others, some of the seed.

        Its batch norm statistics are not estimated.
        """
        return self._load(self.random_path(kind), kind)

    def start_trunk(self) -> "Trunk | None":
        """Load the trunk with the weights that the run began with; None where these were random ones."""
        return self._load(self.start_path, "image") if self.settings.start else None

    def random_encoders(self) -> "dict[str, Trunk]":
        """Load all trunks with random weights, by kind; of a run on text the table of words."""
        if self.words:
            return {"words": self.word_table(random=True)}
        return {kind: self.random_trunk(kind) for kind in ("image", *(("sound",) if self.sound else ()))}

    @plain_keras()
    def encoder(self, stage: str | None = None, pooled: bool = True, pool: int = 1) -> "keras.Model":
        """Load the encoder as a plain Keras model of stock layers, to be the first layer of anybody's own.

        Args:
          stage: its name, such as "stage3"; the last one where it is not given.
          pooled: the embedding, float32 [N, D]; otherwise the feature map, float32 [N, h, w, C].
          pool: places a side that the map is averaged to, D = pool * pool * C; 1 for the mean over all places.

        Returns:
          A model that takes uint8 [N, S, S, 3], S the run's size.

        Raises:
          UserError: an unknown stage, more places than its map has; the run has not ended.
        """
        from tfssl.models.trunks import make_encoder

        return make_encoder(self.trunk(), self.settings.size, stage, pooled, pool)

    @plain_keras()
    def sound_encoder(self, stage: str | None = None, pooled: bool = True) -> "keras.Model":
        """Load the sound encoder as a plain Keras model of stock layers.

        The model maps waveforms float32 [N, samples] to embeddings [N, D].

        Args:
          stage: its name; the last one where it is not given.
          pooled: the embedding; otherwise the feature map, float32 [N, time, mel, D].

        Raises:
          UserError: no task of the run listened, or it has not ended.
        """
        from tfssl.models.trunks.sound import make_sound_encoder

        trunk = self.trunk(kind="sound")
        return make_sound_encoder(trunk, self.sound["samples"], stage, pooled)  # type: ignore[index]

    @plain_keras()
    def word_table(self, random: bool = False, epoch: int | None = None) -> Any:
        """Load the table of words of a run on text, a `models.words.WordTable`.

        Args:
          random: as it was before training.
          epoch: one of `epochs()`; None for the end.

        Raises:
          UserError: a run on something else, or one that has not ended, or did not keep that epoch.
        """
        import keras

        from tfssl.models.words import Embedding, table_of

        if not self.words:
            raise UserError(f"the run in {self.folder} is none on text; expected one of word2vec")
        if epoch is not None and epoch not in self.epochs():
            raise UserError(f"epoch {epoch} is asked for, but the run in {self.folder} kept {self.epochs() or 'none'}")
        path = self.random_path("words") if random else self.trained_path("words", epoch)
        self._require(path)
        return table_of(keras.models.load_model(path, {"Embedding": Embedding}, compile=False))

    def _require(self, path: Path) -> None:
        if not path.exists():
            raise UserError(
                f"the run in {self.folder} has not ended and has no encoder; resume it with the command that began it"
            )

    @plain_keras()
    def _load(self, path: Path, kind: str) -> "Trunk":
        import keras

        from tfssl.models.batch_norm import BatchNormalization
        from tfssl.models.trunks import Trunk, stages_of

        if kind == "sound" and self.sound is None:
            raise UserError(f"the run in {self.folder} has no sound encoder: none of {self.settings.tasks} listens")
        if self.words:
            raise UserError(
                f"the run in {self.folder} is on text and has no trunk; give it to evaluate-words, export or index"
            )
        self._require(path)
        faster = {"BatchNormalization": BatchNormalization}
        _, pixels, body, _ = keras.models.load_model(path, faster, compile=False).layers
        return Trunk(pixels, body, self.settings.stages if kind == "image" else stages_of(body))

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints: see `result`."""
        return self.result

    def __str__(self) -> str:
        settings, result = self.settings, self.result
        network = f"{self.words['count']:,} words" if self.words else f"{settings.trunk}, {settings.size} px"
        line = f"run {self.folder}: {settings.tasks} on {network}, "
        if not result:
            return line + "has not ended"
        figures = ", ".join(f"{name} {value:.3f}" for name, value in result["metrics"].items())
        if seen := result.get("watch"):
            shown = ", ".join(f"{name} {seen[name]:.3f}" for name in FIGURES if name in seen)
            figures += f"; seen after epoch {seen['epoch']}: {shown}"
        figures += f"; {result['stopped']}" if "stopped" in result else ""
        unit = "words" if self.words else "images"
        speed = result[f"{unit}_per_second"]  # of so few steps that each was left out of it, not known
        return line + f"{counted(result['steps'], 'step')}{f' at {speed:g} {unit}/s' if speed else ''}: {figures}"


def load_run(folder: "str | Path | Run") -> Run:
    """Load the run in a folder. Raise UserError where there is none."""
    if isinstance(folder, Run):
        return folder
    require_text(Path(folder))
    path = Path(folder) / "run.json"
    if not path.is_file():
        raise UserError(f"{folder} is no run (it has no run.json); expected the folder given to pretrain as --out")
    try:
        content = json.loads(path.read_text())
        settings, number = RunSettings(**content["settings"]), int(content.get("format", 1))
        run = Run(Path(folder), settings, content["data"], content["prepared"], number)
    except (ValueError, KeyError) as problem:
        raise UserError(f"{path} cannot be read ({problem}); the run cannot be used") from problem
    if run.format > FORMAT:
        raise UserError(
            f"{path} has format {run.format}, this version of tfssl reads up to {FORMAT}; use a newer version of tfssl"
        )
    return run


def create_or_match(
    folder: Path, settings: RunSettings, data: dict[str, Any], prepare: Callable[[], dict[str, Any]]
) -> Run:
    """Return the run of these settings in this folder; begin it where there is none.

    Args:
      prepare: makes `Run.prepared`; called only where the run begins.

    Raises:
      UserError: the folder holds a run with other settings, or something that is no run. (One on other data is refused
        by `listing`.)
    """
    from tfssl.base import environment

    require_text(folder)
    if (folder / "run.json").exists():
        run = load_run(folder)
        if run.format < FORMAT and not run.result:
            raise UserError(
                f"{folder} holds a run that an older version of tfssl began (format {run.format} of {FORMAT}), and its"
                " network is made otherwise today; choose another --out, or end it with that version"
            )
        given, earlier = settings.as_json(), run.settings.as_json()
        for key in given | earlier:
            default = _BEFORE.get(key)
            if given.get(key, default) != earlier.get(key, default):
                raise UserError(
                    f"{folder} holds a run with {key} {earlier.get(key, default)!r}, now {given.get(key, default)!r} is"
                    " given;"
                    " choose another --out, or give what the run began with"
                )
        return run
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is no run; choose a new or empty folder for --out")
    prepared = prepare()
    prepared["learned"] = learned_files.keep(folder, prepared["learned"])
    content = {"format": FORMAT, "settings": settings.as_json(), "data": data, "prepared": prepared}
    content |= {"versions": environment.versions()}
    write_json(folder / "run.json", content)
    return load_run(folder)
