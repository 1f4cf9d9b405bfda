"""Numbers in sentences."""


def counted(number: int, noun: str, several: str = "") -> str:
    """Say how many there are of something: "1 step", "2,000 steps".

    Args:
      number: how many.
      noun: what is said of one.
      several: what is said of several where that is more than an s: "picture has no boxes", "pictures have no boxes".
    """
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"
