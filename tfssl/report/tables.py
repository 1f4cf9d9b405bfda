"""The report's tables of an evaluation."""

from tfssl.report.drawn import Table
from tfssl.runs import spread
from tfssl.runs.evaluation import Evaluation, best_stage
from tfssl.runs.spread import Ranks

STAGES = (
    "protocol",
    "stage",
    "top-1",
    "95\u00a0% interval",
    "random top-1",
    "balanced",
    "mAP",
    "random mAP",
    "held out",
)


def stages(evaluation: Evaluation) -> Table:
    """Return each stage by each protocol, in percent, beside random weights; the chosen stage is marked."""
    rows: list[tuple[str, ...]] = []
    marked = []
    for protocol, scores in evaluation.trained.items():
        for stage, score in {**scores, **evaluation.projection.get(protocol, {})}.items():
            low, high = evaluation.interval_of(score)
            rival = evaluation.random.get(protocol, {}).get(stage)
            if stage == evaluation.best_stage and protocol in list(evaluation.of_features)[:1]:
                marked.append(len(rows))
            rows.append(
                (
                    evaluation.protocols[protocol].title,
                    stage,
                    f"{100 * score.top1:.1f}",
                    f"{100 * low:.1f} to {100 * high:.1f}",
                    cell(rival.top1 if rival else None),
                    cell(score.balanced),
                    cell(score.map),
                    cell(rival.map if rival else None),
                    cell(score.held_out),
                )
            )
    return Table("figures of each stage", STAGES, rows, texts=2, marked=tuple(marked))


def rivals(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Return what was measured beside the run: chosen stages, and paired differences; a row each."""
    rows: list[tuple[str, ...]] = []
    for rival in evaluation.beside:
        for protocol, scores in rival.scores.items():
            own, other = evaluation.trained[protocol], best_stage(scores)
            chosen = best_stage(own)
            shares = (f"{100 * own[chosen].top1:.1f} ({chosen})", f"{100 * scores[other].top1:.1f} ({other})")
            ahead = str(rival.ahead[protocol]) if protocol in rival.ahead else ""
            rows.append((evaluation.protocols[protocol].title, rival.name, *shares, ahead))
    return rows


RIVALS = ("protocol", "beside", "this run", "the other", "this run is")


def ranks(measured: Ranks) -> Table:
    """Return the effective rank of each stage beside random weights; without rows where it was not measured."""
    head = ("stage", "numbers", "effective rank", "random weights", "uniformity", "random weights")
    return Table("effective rank of each stage", head, spread.rows(measured))


def classes(evaluation: Evaluation) -> Table | None:
    """Return the classes one by one at the chosen stage, in percent; None where the evaluation did not keep them."""
    found = evaluation.per_class
    if found is None:
        return None
    figure = "average precision" if evaluation.several else "right"
    rows = []
    for place, name in enumerate(evaluation.classes):
        own = found.trained[place]
        row: tuple[str, ...] = (name, f"{found.labels[place]}", f"{found.tested[place]}", cell(own))
        if found.random:
            other = found.random[place]
            ahead = "" if own is None or other is None else f"{100 * (own - other):+.1f}"
            row += (cell(other), ahead)
        rows.append(row)
    head: tuple[str, ...] = ("class", "to learn from", "to test", f"{figure}, %")
    return Table("figures of each class", head + (("random weights, %", "ahead") if found.random else ()), rows)


def cell(share: float | None) -> str:
    """Write a share in percent; nothing where it is not known."""
    return "" if share is None else f"{100 * share:.1f}"
