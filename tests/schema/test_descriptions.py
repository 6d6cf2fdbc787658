"""Every description of the API reads as reference prose: a noun phrase in full words."""

import re
from collections.abc import Iterator
from functools import cache

from graphql import build_schema, is_introspection_type, is_specified_scalar_type

from schema.build import sdl

MIN_WORDS = 3
OPENERS = ("Who", "What", "How", "Whether", "Which of them", "Where it stands")
RIDDLES = (
    "as if not given",
    "came to be",
    "for those concerned",
    "gave it back",
    "gives back",
    "if not given",
    "in law",
    "in which order",
    "is not here",
    "or no more",
    "people call",
    "put away",
    "says of itself",
    "shown this once",
    "since when",
    "stands in the way",
    "the thing",
    "to find it by",
    "until when",
    "when it counts",
    "where it stands",
    "which of them",
    "which one",
    "with which",
    "yes or no",
)


@cache
def descriptions() -> dict[str, str]:
    """Return every description of the schema by the name of what it describes; missing ones are empty."""
    schema = build_schema(sdl())
    own_types = [t for t in schema.type_map.values() if not is_introspection_type(t)]
    elements = {t.name: t.description for t in own_types if not is_specified_scalar_type(t)}
    for owner in own_types:
        elements.update(_members(owner))
    elements |= {f"@{directive.name}": directive.description for directive in schema.directives}
    return {name: text or "" for name, text in elements.items()}


def _members(owner: object) -> Iterator[tuple[str, str | None]]:
    """Yield the enum values, or the fields and arguments, of a type with their descriptions."""
    for name, value in getattr(owner, "values", {}).items():
        yield f"{owner}.{name}", value.description
    for name, field in getattr(owner, "fields", {}).items():
        yield f"{owner}.{name}", field.description
        for argument_name, argument in getattr(field, "args", {}).items():
            yield f"{owner}.{name}({argument_name})", argument.description


def violations(pattern: str) -> dict[str, str]:
    """Return the descriptions in which a pattern occurs."""
    return {name: text for name, text in descriptions().items() if re.search(pattern, text)}


def any_of(phrases: tuple[str, ...]) -> str:
    """Return the pattern of any of the phrases as whole words."""
    return rf"\b({'|'.join(re.escape(phrase) for phrase in phrases)})\b"


def test_the_whole_schema_is_read() -> None:
    assert len(descriptions()) > 800
    assert {"Query", "Query.orders(filter)", "OrderSort.CREATED_AT_ASC", "@oneOf"} <= set(descriptions())


def test_no_description_is_missing_or_shorter_than_three_words() -> None:
    assert {name: text for name, text in descriptions().items() if len(text.split()) < MIN_WORDS} == {}


def test_no_description_opens_with_a_question_word() -> None:
    assert violations(rf"^{any_of(OPENERS)}") == {}


def test_no_description_contains_a_riddle() -> None:
    assert violations(rf"(?i){any_of(RIDDLES)}") == {}


def test_every_description_is_a_sentence() -> None:
    assert violations(r"^[^A-Z`]|[^.…]$") == {}


def test_no_description_contains_a_python_name() -> None:
    assert violations(r"\b[a-z]+_[a-z_]+\b") == {}
