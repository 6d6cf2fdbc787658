"""Texts that neither PostgreSQL nor JSON can carry, found once for all input."""

import re
from collections.abc import Iterable
from typing import Any

from services.core.errors import Invalid, Problem

MAX_DEPTH = 100
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def can_be_kept(*texts: str | None) -> bool:
    """Tell whether PostgreSQL and JSON can carry these texts."""
    return not any(text and _UNSTORABLE.search(text) for text in texts)


def bad_text(value: Any, path: tuple[str, ...]) -> Problem | None:
    """Return what is wrong with a text anywhere in a value: PostgreSQL and JSON cannot carry it.

    Checked once for all input, so that no field of the API can be the one that forgot.

    Raises:
        RecursionError: lists and objects stand in each other more than 100 deep, on every Python alike.
    """
    if len(path) > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            place = ".".join(path)
            return Invalid(f"{place} holds a character that cannot be kept: NUL or half of a pair", path=path)
        return None
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        found = bad_text(item, (*path, str(key))) or bad_text(key, path)
        if found is not None:
            return found
    return None
