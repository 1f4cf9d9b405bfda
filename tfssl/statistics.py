"""Intervals: what all that measures has in common."""


def student(degrees: int, confidence: float = 0.95) -> float:
    """How many standard errors Student's two-sided interval reaches: 12.706 for one degree of freedom, 4.303 for two.

    Args:
      degrees: of freedom, 1 or more: one less than there are values.
      confidence: of the interval, 0 .. 1.
    """
    from scipy.stats import t  # which scikit-learn brings; here, as it takes a while to import

    return float(t.ppf((1 + confidence) / 2, degrees))
