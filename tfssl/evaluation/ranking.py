"""Effective ranks alone, of pictures that need no labels."""

from collections.abc import Mapping, Sequence

from tfssl.base.errors import UserError
from tfssl.base.files import write_json
from tfssl.evaluation.config import EvaluateSettings
from tfssl.evaluation.data import Data
from tfssl.evaluation.labelled import check_frames
from tfssl.evaluation.probes import Probes
from tfssl.evaluation.protocols.base import Measurement
from tfssl.evaluation.protocols.effective_rank import EffectiveRank
from tfssl.frozen import features
from tfssl.frozen.precise import estimate_batch_norm
from tfssl.frozen.subjects import Subject
from tfssl.pipelines import batches
from tfssl.pipelines.sources import any_source, splits
from tfssl.runs import spread
from tfssl.runs.evaluation import RANKS, Evaluation, evaluation_file
from tfssl.runs.spread import Spread


def rank_only(subject: Subject, settings: EvaluateSettings, protocols: Sequence[Measurement]) -> Evaluation:
    """Measure effective ranks on the training part of DATA where there is one, else on all of it.

    Writes `ranks.json` into a run's folder: no stage is chosen by ranks, so that they must not take the place of an
    evaluation by which one is.

    Raises:
        UserError: options that only labels give a meaning to, or fewer than two pictures.
    """
    asked = ", ".join(map(str, protocols))
    for option, value in (
        ("--test", settings.test),
        ("--labels", settings.labels),
        ("--long-tail", settings.long_tail),
        ("--beside", settings.beside),
    ):
        if value:
            raise UserError(f"{option} is given, but {asked} takes no labels; leave it out, or ask for a probe too")
    training = any_source.parts_of(settings.data).get(splits.TRAIN, settings.data)
    source = any_source.open_source(training, settings.max_broken)
    check_frames(settings.frames, source)
    if source.count < 2:
        raise UserError(f"{source.name} has {source.count} of {source.items}; an effective rank needs two or more")
    random, whole = settings.random, source.name
    (protocol,) = protocols
    if isinstance(protocol, EffectiveRank) and source.count > protocol.pictures:
        source = batches.sample(source, protocol.pictures, protocol.seed)
    data = Data(source, source, None, settings.split_seed)
    names = ("numbers", "grid", "batch_size", "max_broken", "frames", "cache")
    probes = Probes(protocols=protocols, size=subject.size, **{name: getattr(settings, name) for name in names})
    both = probes.rank(subject.network, data)
    trained, behind = ({k: v for k, v in both.items() if (k in subject.projections) == kept} for kept in (False, True))
    pictures = next(iter(trained.values())).pictures
    untrained: Mapping[str, Spread] = {}
    if isinstance(random, Evaluation):
        untrained = random.ranks.get("random", {})
    elif random and subject.has_random:
        model = features.stage_model(subject.random, subject.size)
        untrained = probes.rank(model, data)
        if estimate_batch_norm(model, source, subject.size, subject.batch_size, subject.seed):
            untrained = spread.higher(untrained, probes.rank(model, data))
    evaluation = Evaluation(
        trained={},
        random={},
        protocols={},
        train_images=pictures,
        test_images=0,
        classes=(),
        broken_files=len(source.broken) + source.count - pictures,
        details={
            "subject": subject.name,
            "kind": subject.kind,
            "data": whole,
            "size": subject.size,
            "seed": subject.seed,
            "frames": settings.frames,
        },
        ranks={"trained": trained, "random": untrained, **({"projection": behind} if behind else {})},
    )
    if settings.to is not None:
        write_json(settings.to, evaluation.as_json())
    if subject.run is not None:
        write_json(subject.run.folder / evaluation_file(settings.epoch, RANKS), evaluation.as_json())
        if settings.report and settings.epoch is None:
            from tfssl.report.page import write_report

            write_report(subject.run)
    return evaluation
