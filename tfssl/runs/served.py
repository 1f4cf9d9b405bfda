"""Which embedding `export` gives, and what exactly that was measured at: same stage, same places."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfssl.base.errors import UserError
from tfssl.runs.evaluation import Evaluation, best_stage, percent

if TYPE_CHECKING:
    from tfssl.runs.run import Run


@dataclasses.dataclass(frozen=True)
class Embedding:
    """An embedding of pictures.

    Attributes:
      stage: its name, or that of another layer of the trunk.
      pool: places a side that its map is averaged to.
      measured: what `evaluate` measured of it, {} where nothing: "top1", protocol -> share of test pictures right;
        "random", the same of random weights at the stage that is chosen of them; "test", name of the test data;
        "test_images".
      line: all this in words.
    """

    stage: str
    pool: int
    measured: Mapping[str, Any]
    line: str


def embedding_of(run: "Run", stage: str | None = None, pool: int = 1, changes: Sequence[str] = ()) -> Embedding:
    """Return the embedding that an export of a run gives.

    Args:
      run: whose last evaluation is read, where it has one.
      stage: None for the stage that `evaluate` found best as exported, or the last one where it was not asked.
      pool: places a side.
      changes: options that change the embedding after that, as '--l2-normalise': the figures are of what was before.

    Raises:
      UserError: an evaluation that cannot be read.
    """
    try:
        evaluation = Evaluation.from_json(run.evaluation) if run.evaluation else None
    except (ValueError, KeyError, TypeError) as problem:
        raise UserError(f"evaluation.json of the run cannot be read ({problem}); evaluate it again") from problem
    stages = run.settings.stages
    if stage is None:
        stage = stages[-1] if evaluation is None else evaluation.stage_to_export(pool)
    places = "mean over all places" if pool == 1 else f"{pool} x {pool} places"
    protocols = evaluation.measured_as_exported(stage, pool) if evaluation else ()
    if evaluation is None or not protocols:
        grid = f" --grid {pool}" if pool > 2 else ""
        how = f"tfssl evaluate RUN DATA{grid}" if stage in stages else f"evaluate takes stages, {', '.join(stages)}"
        return Embedding(stage, pool, {}, f"{stage}, {places}; was not measured: {how}")
    top1 = {protocol: evaluation.trained[protocol][stage].top1 for protocol in protocols}
    random = {
        protocol: evaluation.random[protocol][best_stage(evaluation.random[protocol])].top1
        for protocol in protocols
        if protocol in evaluation.random
    }
    parts: list[str] = []
    for protocol, share in top1.items():
        of = f" of {evaluation.test_images:,} test images" if not parts else ""
        beside = f" (random weights {percent(random[protocol])})" if protocol in random else ""
        parts.append(f"{evaluation.protocols[protocol].probe} {percent(share)}{of}{beside}")
    line = f"{stage}, {places}; {', '.join(parts)}"
    frames = evaluation.details.get("frames", 1)
    line += f"; of the mean over {frames} frames of a clip" if frames > 1 else ""
    line += f"; measured before {' and '.join(changes)}" if changes else ""
    measured = {"top1": top1, "random": random, "test": evaluation.details.get("test")}
    return Embedding(stage, pool, measured | {"test_images": evaluation.test_images}, line)
