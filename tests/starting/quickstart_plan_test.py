"""What is chosen from figures: against values computed by hand."""

import dataclasses
import re

import pytest

from tfssl.base.errors import UserError
from tfssl.starting import budget, plan
from tfssl.starting.budget import Counts, Finetuning, Speed

# A forward pass of a picture takes 1.152 / 64 / 18 = 0.001 s, reading it 0.001 s.
SPEED = Speed(step=1.152, setup=2.0, picture=0.001)
COUNTS = Counts(pictures=800, train=640, val=160, test=200, evaluated=1000)


def test_batch():
    assert [plan.batch_of(count) for count in (16, 31, 32, 63, 64, 10**6)] == [16, 16, 32, 32, 64, 64]


def test_epochs():
    assert plan.epochs_of(100, 0.1) == (1, 100)  # ten seconds
    assert plan.epochs_of(1000, 0.3) == (10, 100)  # five minutes
    assert plan.epochs_of(1003, 0.3) == (10, 100)
    assert plan.epochs_of(40_000, 0.3) == (50, 800)
    assert plan.epochs_of(3, 1000.0) == (3, 1)


def test_seconds_of_fine_tuning():
    made = Finetuning(steps=100, learning_rates=(0.001,), refit=True, beside=("scratch",), fraction=None)
    # Two starts of two trainings: 2 + 2 + 4 builds; 2 (800 + 200) pictures and 10 * 4 times the 160; 400 steps of 64.
    assert budget.finetuning_seconds(made, COUNTS, 64, SPEED) == pytest.approx(16 + 8400 * 0.002 + 400 * 0.192)
    half = dataclasses.replace(made, fraction=0.5)
    assert budget.finetuning_seconds(half, COUNTS, 64, SPEED) == pytest.approx(16 + 4400 * 0.002 + 400 * 0.192)
    own = dataclasses.replace(COUNTS, divided=False)  # nothing is learned once more
    assert budget.finetuning_seconds(made, own, 64, SPEED) == pytest.approx(12 + 5200 * 0.002 + 200 * 0.192)
    few = dataclasses.replace(COUNTS, train=32)  # which make a smaller batch
    expected = 16 + (2 * (192 + 200) + 6400) * 0.002 + 400 * 0.096
    assert budget.finetuning_seconds(made, few, 64, SPEED) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seconds", "steps", "learning_rates", "refit", "beside"),
    [
        (5000.0, 1000, (0.0003, 0.001, 0.003), True, ("scratch",)),
        (1200.0, 740, (0.0003, 0.001, 0.003), True, ("scratch",)),  # (1200 - 24 - 29.6) / (8 * 0.192)
        (360.0, 420, (0.001,), True, ("scratch",)),  # (360 - 16 - 16.8) / (4 * 0.192)
        (150.0, 330, (0.001,), False, ("scratch",)),  # (150 - 12 - 10.4) / (2 * 0.192)
        (40.0, 130, (0.001,), False, ()),  # (40 - 8 - 5.2) / 0.192
        (0.0, 20, (0.001,), False, ()),
    ],
)
def test_fine_tuning_by_time(seconds, steps, learning_rates, refit, beside):
    made = budget.finetuning(seconds, COUNTS, 64, SPEED, evaluated=True)
    assert (made.steps, made.learning_rates, made.refit, made.beside) == (steps, learning_rates, refit, beside)
    if steps > 20:
        assert budget.finetuning_seconds(made, COUNTS, 64, SPEED) <= seconds


def test_fine_tuning_compares_what_was_not_evaluated():
    assert budget.finetuning(360.0, COUNTS, 64, SPEED, evaluated=False).beside == ("scratch", "random")
    assert budget.finetuning(0.0, COUNTS, 64, SPEED, evaluated=False).beside == ("random",)
    assert budget.finetuning(360.0, Counts(pictures=800), 64, SPEED, evaluated=False) is None


def test_fine_tuning_of_very_many_labels_takes_a_part():
    many = Counts(pictures=800_000, train=640_000, val=160_000, test=200_000, evaluated=10**6)
    # At least 800,000 + 10 * 160,000 pictures to pass, 4,800 s, and 400 s for the test part.
    assert budget.finetuning(3600.0, many, 64, SPEED, evaluated=True).fraction == pytest.approx(0.3)
    assert budget.finetuning(360.0, many, 64, SPEED, evaluated=True).fraction == pytest.approx(0.001)
    assert budget.finetuning(10_500.0, many, 64, SPEED, evaluated=True).fraction is None


def test_evaluation():
    assert budget.evaluation_seconds(COUNTS, 64, SPEED, 0) == pytest.approx(12 + 3000 * 0.002)
    assert budget.evaluation_seconds(COUNTS, 64, SPEED, 1) == pytest.approx(12 + 600 * 0.002)
    many = dataclasses.replace(COUNTS, evaluated=10**6)  # 6,012 s; of fifths 1,212, 252, 60
    assert budget.fifths(180.0, many, 64, SPEED) == 3
    assert budget.fifths(0.0, COUNTS, 64, SPEED) == 0  # too few to leave some out


def test_minutes_are_shared_out():
    made = budget.share_out(1800.0, 61.0, COUNTS, 64, SPEED)
    tuned = 16 + 16.8 + 420 * 0.768
    fixed = {"show": 4.0, "export encoder": 20.0, "export classifier": 20.0, "evaluate": 18.0}
    fixed |= {"check encoder": 4.0, "check classifier": 4.0}
    # 1800 * 0.95 - 61 - 70 - 355.36 leave 1223.64 s, of which 8 + 0.8 + 4.096 are no steps.
    assert (made.steps, made.times) == (1050, 0)
    assert made.finetuning.steps == 420
    assert made.seconds == pytest.approx(fixed | {"finetune": tuned, "pretrain": 12.896 + 1050 * 1.152})


def test_only_pretraining_builds_all_tasks():
    one, two = (budget.fixed_seconds(COUNTS, 64, SPEED._replace(setup=2.0 * n, tasks=n)) for n in (1, 2))
    assert two == one | {"pretrain": one["pretrain"] + 4 * 2.0}


def test_minutes_without_labels():
    made = budget.share_out(1800.0, 60.0, Counts(pictures=800), 64, SPEED)
    assert set(made.seconds) == {"show", "pretrain", "export encoder", "check encoder"}
    assert made.finetuning is None
    assert made.steps == int((1710 - 60 - 4 - 12.896 - 20 - 4) / 1.152)
    assert budget.share_out(60.0, 60.0, COUNTS, 64, SPEED).steps < 0


def climb(seconds: dict[str, float], budget: float, in_time=lambda: True) -> tuple[str, list[str]]:
    """The trunk that is chosen where steps may take `budget` seconds in all, and the trunks that were measured."""
    measured = []

    def measure(trunk: str) -> Speed:
        measured.append(trunk)
        return SPEED._replace(step=seconds[trunk])

    chosen, speed = plan.choose_trunk(measure, lambda speed: int(budget / speed.step), in_time)
    assert speed.step == seconds[chosen]
    return chosen, measured


def test_trunk():
    slow = dict(zip(plan.TRUNKS, (0.1, 0.3, 0.9, 1.5, 6.0), strict=True))
    assert climb(slow, 100.0) == (plan.TRUNKS[0], [plan.TRUNKS[0]])  # the next would cost 0.2 s at best: 500 steps
    assert climb(slow, 500.0) == (plan.TRUNKS[0], [*plan.TRUNKS[:2]])  # 1,667 steps
    assert climb(slow, 1000.0) == (plan.TRUNKS[1], [*plan.TRUNKS[:2]])  # the next: 0.6 s at best
    assert climb(slow, 1900.0) == (plan.TRUNKS[2], [*plan.TRUNKS[:4]])  # 2,111 steps, and 1,266 of the next
    level = dict.fromkeys(plan.TRUNKS, 0.02)  # a GPU that is busy with none
    assert climb(level, 1000.0) == (plan.TRUNKS[-1], [*plan.TRUNKS])
    assert climb(level, 1000.0, in_time=lambda: False) == (plan.TRUNKS[0], [plan.TRUNKS[0]])


def test_a_machine_that_is_too_slow():
    plan.refuse_too_slow(8.0, lambda minutes: int(20 * minutes - 50), SPEED)
    with pytest.raises(UserError, match=re.escape("5 minutes leave 50 steps, of 100 at least; give --minutes 8")):
        plan.refuse_too_slow(5.0, lambda minutes: int(20 * minutes - 50), SPEED)
    with pytest.raises(UserError, match=r"leave 0 steps, of 100 at least; give --minutes 8$"):
        plan.refuse_too_slow(2.5, lambda minutes: int(20 * minutes - 50), SPEED)
