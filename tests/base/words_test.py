from tfssl.base.words import counted


def test_one_is_not_several():
    assert [counted(number, "step") for number in (0, 1, 2, 2000)] == ["0 steps", "1 step", "2 steps", "2,000 steps"]
