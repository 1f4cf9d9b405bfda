from tfssl.base.words import counted


def test_one_is_not_several():
    assert [counted(number, "step") for number in (0, 1, 2, 2000)] == ["0 steps", "1 step", "2 steps", "2,000 steps"]
    assert [counted(number, "file is", "files are") for number in (0, 1, 2)] == [
        "0 files are",
        "1 file is",
        "2 files are",
    ]
