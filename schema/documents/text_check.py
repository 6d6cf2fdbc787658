"""The check for text that PostgreSQL or JSON cannot hold, run once on all input."""

import re
from collections.abc import Iterable
from typing import Any

from services.core.errors import Invalid, Problem

MAX_DEPTH = 100
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def is_storable(*texts: str | None) -> bool:
    """Return True if PostgreSQL and JSON can hold these texts."""
    return not any(text and _UNSTORABLE.search(text) for text in texts)


def find_unstorable(value: Any, path: tuple[str, ...]) -> Problem | None:
    """Return the problem of the first text in a value that PostgreSQL or JSON cannot hold.

    All input passes here, so that no field of the API has to check its own.

    Raises:
        RecursionError: lists and objects are nested more than 100 deep, the same on every Python.
    """
    if len(path) > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            name = ".".join(path)
            return Invalid(f"{name} contains NUL or an unpaired surrogate", field=path)
        return None
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        problem = find_unstorable(item, (*path, str(key))) or find_unstorable(key, path)
        if problem is not None:
            return problem
    return None
