import pytest

from tfssl.base import specs
from tfssl.base.errors import UserError

KNOWN = {"count": 4, "rate": 0.5, "on": False, "name": "a", "any": None}


def test_split_list():
    assert specs.split_list("a(x=1, y=(2, 3)), b") == ["a(x=1, y=(2, 3))", "b"]
    assert specs.split_list(" rotation ") == ["rotation"]


@pytest.mark.parametrize("text", ["", "a,,b", "a(", "a b", "a(x=1"])
def test_split_list_says_what_it_cannot_read(text):
    with pytest.raises(UserError, match="cannot read"):
        specs.split_list(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ("a", {})),
        ("a()", ("a", {})),
        ("a(x=1, y=-2.5, z='t')", ("a", {"x": 1, "y": -2.5, "z": "t"})),
        ("a(x=(1, 2), y=None, z=True)", ("a", {"x": (1, 2), "y": None, "z": True})),
    ],
)
def test_parse_call_and_back(text, expected):
    assert specs.parse_call(text) == expected
    assert specs.parse_call(specs.format_call(*expected)) == expected


@pytest.mark.parametrize("text", ["a(1)", "a(x=b)", "a(x=f())", "a(**{})", "a.b", "1", "a(x=__import__('os'))", "a\0b"])
def test_only_literals_are_read(text):
    with pytest.raises(UserError, match="cannot read"):
        specs.parse_call(text)


def test_check_settings():
    specs.check_settings("thing", {"count": 2, "rate": 1, "on": True, "any": object()}, KNOWN)
    with pytest.raises(UserError, match="no setting 'size'; its settings are: count, rate, on, name, any"):
        specs.check_settings("thing", {"size": 2}, KNOWN)
    for wrong in ({"count": 1.5}, {"count": True}, {"on": 1}, {"name": 3}, {"rate": "x"}):
        with pytest.raises(UserError, match="expected"):
            specs.check_settings("thing", wrong, KNOWN)
