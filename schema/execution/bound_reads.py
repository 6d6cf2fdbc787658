"""Reads whose variables were bound a moment ago: pages are asked for again and again with the same ones.

Coercing the variables and arguments of a query takes as long as the rest of its way through the server. What
they become depends on nothing but their JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import ReferenceType, ref

import orjson

from schema.documents.document_cache import CachedDocument, LruCache
from services.sql_json.rows import JsonRead

MAX_COUNT = 1_000
MAX_KEY_CHARACTERS = 4_000
MAX_CHARACTERS = 1_000_000
"""Characters of all keys: variables, and what tells their operation."""


@dataclass(frozen=True)
class _Entry:
    document: ReferenceType[CachedDocument]
    """The document that it was bound for; another with the same text has other limits.

    The read goes with it: the syntax tree that it refers to is far larger than its key, and counted by the
    cache of documents.
    """
    read: JsonRead


_reads: LruCache[_Entry] = LruCache(max_count=MAX_COUNT, max_bytes=MAX_CHARACTERS)


def find_read(
    cached: CachedDocument, operation_name: str | None, variables: Mapping[str, Any] | None
) -> JsonRead | None:
    """Find the read of an operation with these variables."""
    if not cached.was_seen or (key := _key(cached, operation_name, variables)) is None:
        return None
    entry = _reads.get(key)
    if entry is None or entry.document() is not cached:
        return None
    return entry.read.again()


def keep_read(
    cached: CachedDocument,
    operation_name: str | None,
    variables: Mapping[str, Any] | None,
    read: JsonRead,
) -> None:
    """Keep the read of an operation of a document that is asked for again."""
    if cached.was_seen and (key := _key(cached, operation_name, variables)) is not None:
        entry = _Entry(ref(cached, partial(_forget, key)), read)
        _reads.put(key, entry, size_bytes=len(key))


def _forget(key: str, _: object) -> None:
    """Forget the read of a document that is gone. One that took its place ended the reference that calls."""
    _reads.remove(key)


def count() -> int:
    """Return the number of reads that are kept."""
    return len(_reads)


def clear() -> None:
    """Forget all reads."""
    _reads.clear()


def _key(
    cached: CachedDocument, operation_name: str | None, variables: Mapping[str, Any] | None
) -> str | None:
    """Return the key, or None for variables that are too large, or no JSON."""
    try:
        text = orjson.dumps(variables or None).decode()
    except TypeError:
        return None
    key = f"{cached.sha256} {operation_name} {text}"
    return key if len(key) <= MAX_KEY_CHARACTERS else None
