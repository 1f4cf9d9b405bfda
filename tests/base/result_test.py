"""Results: fields for Python, JSON for programs."""

import dataclasses
import json
from pathlib import Path

from tfssl.base.result import Result


@dataclasses.dataclass(frozen=True)
class Share:
    value: float
    interval: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Named(Result):
    name: str

    def as_json(self):
        return {"called": self.name}


@dataclasses.dataclass(frozen=True)
class Whole(Result):
    folder: Path
    shares: dict[str, Share]
    named: tuple[Named, ...]
    files: dict[str, list[Path]]
    by_number: dict[int, None] = dataclasses.field(metadata={"key": "by_count"})


def test_json_is_the_fields_with_paths_as_text():
    share = Share(0.5, (0.25, 0.75))
    whole = Whole(Path("runs") / "first", {"a": share}, (Named("b"),), {"c": [Path("d.png")]}, {3: None})
    expected = {
        "folder": str(Path("runs") / "first"),
        "shares": {"a": {"value": 0.5, "interval": [0.25, 0.75]}},
        "named": [{"called": "b"}],
        "files": {"c": ["d.png"]},
        "by_count": {3: None},
    }
    assert whole.as_json() == expected
    assert list(whole.as_json()) == list(expected)
    assert json.loads(json.dumps(whole.as_json()))["by_count"] == {"3": None}
