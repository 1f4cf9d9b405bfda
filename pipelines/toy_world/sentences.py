"""Sentences of a small grammar: words of a class stand in the same places, so what a class is can be learned."""

import random
from collections.abc import Iterator

WORD_CLASSES: dict[str, tuple[str, ...]] = {
    "animal": ("cat", "dog", "horse", "sheep", "goat", "cow", "hen", "duck", "rabbit", "donkey"),
    "person": ("farmer", "baker", "doctor", "singer", "painter", "teacher", "sailor", "tailor", "miller", "hunter"),
    "food": ("bread", "cheese", "apples", "rice", "soup", "honey", "beans", "corn", "cake", "butter"),
    "place": ("garden", "kitchen", "field", "market", "forest", "village", "barn", "harbour", "valley", "meadow"),
    "colour": ("red", "blue", "green", "yellow", "white", "black", "brown", "grey", "purple", "orange"),
    "tool": ("hammer", "spade", "rope", "knife", "brush", "ladder", "bucket", "needle", "saw", "broom"),
    "moving": ("walks", "runs", "hurries", "wanders", "marches", "returns", "rides", "climbs", "strolls", "flees"),
    "eating": ("eats", "tastes", "smells", "wants", "likes", "chews", "swallows", "steals", "shares", "hides"),
}
"""Class -> its words. Words that are of none, as "the", join them."""
SHAPES = (
    "the {colour} {animal} {eating} {food}",
    "the {animal} {moving} to the {place}",
    "a {person} {moving} from the {place} with a {tool}",
    "the {person} {eating} {food} and {food}",
    "the {animal} in the {place} is {colour}",
    "every {person} in the {place} has a {colour} {tool}",
    "some {food} for the {animal} of the {person}",
    "the {tool} of the {person} is {colour}",
)


def sentences(count: int, seed: int = 0, start: int = 0) -> Iterator[str]:
    """Draw sentences number `start` and on of the world of a seed."""
    for number in range(start, start + count):
        draw = random.Random(f"{seed} {number}")
        shape = draw.choice(SHAPES)
        yield " ".join(
            draw.choice(WORD_CLASSES[part[1:-1]]) if part.startswith("{") else part for part in shape.split()
        )
