"""The learning rate of a step: warm-up, then cosine or steps."""

import math

DROPS = (0.3, 0.6, 0.8)  # RotNet on CIFAR-10: epochs 60, 120, 160 of 200
DROP = 0.2


def warm_up_steps(steps: int, warm_up: float) -> int:
    """Return during how many of `steps` steps the learning rate rises."""
    return round(warm_up * steps)


def learning_rate(step: int, steps: int, peak: float, schedule: str, warm_up: float) -> float:
    """Return the learning rate of step `step` (from 0) out of `steps`.

    Args:
      peak: the learning rate after warm-up.
      schedule: "cosine" down to zero, or "step": x 0.2 at 30, 60 and 80 % of the steps (Gidaris et al. 2018).
      warm_up: part of the steps in which the learning rate rises in a straight line (Goyal et al. 2017,
        arXiv 1706.02677).
    """
    warm = warm_up_steps(steps, warm_up)
    if step < warm:
        return peak * (step + 1) / (warm + 1)
    if schedule == "step":
        return peak * DROP ** sum(step >= drop * steps for drop in DROPS)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
