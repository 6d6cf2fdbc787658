"""Parameters as PostgreSQL's protocol sends them, with the types that the driver gives them.

The driver looks for an adapter by the class of each value, and of each item of a list, which cost more than a
tenth of a mutation. It still writes what is not listed here.
"""

import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from types import NoneType
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.pq import Format

_UNKNOWN, _BOOL, _BYTEA, _INT8, _INT2, _INT4 = 0, 16, 17, 20, 21, 23
_TIMESTAMPTZ, _UUID, _UUID_ARRAY = 1184, 2950, 2951
_INT_ARRAYS = {_INT2: 1005, _INT4: 1007, _INT8: 1016}
_NEEDS_QUOTES = frozenset('{},"\\ \t\n\r\v\f\0')

Written = tuple[bytes | None, int, Format]
"""A value, its type's oid and its format."""


class Unlisted(Exception):
    """The driver has to write this value."""


class Parameters(NamedTuple):
    """The values of a statement's parameters, with their types and formats."""

    values: Sequence[Any]
    types: tuple[int, ...]
    formats: Sequence[Any]


def write(values: Sequence[Any]) -> Parameters:
    """Write the values of a statement's parameters, for a connection in UTF-8.

    Raises:
        Unlisted: the driver has to write one of them.
    """
    written = [_WRITERS.get(value.__class__, _write_other)(value) for value in values]
    return Parameters(*zip(*written, strict=True)) if written else Parameters((), (), ())


def _write_text(value: str) -> Written:
    if "\0" in value:
        raise Unlisted
    return str.encode(value), _UNKNOWN, Format.TEXT


def _write_int(value: int) -> Written:
    """Write a number by the smallest type that holds it, as the driver does: larger ones follow from it."""
    if -(2**15) <= value < 2**15:
        return struct.pack("!h", value), _INT2, Format.BINARY
    if -(2**31) <= value < 2**31:
        return struct.pack("!i", value), _INT4, Format.BINARY
    if -(2**63) <= value < 2**63:
        return struct.pack("!q", value), _INT8, Format.BINARY
    raise Unlisted


def _write_time(value: datetime) -> Written:
    if value.tzinfo is None:
        raise Unlisted
    return str(value).encode(), _TIMESTAMPTZ, Format.TEXT


def _write_list(value: list[Any]) -> Written:
    if not value:
        return b"{}", _UNKNOWN, Format.TEXT
    first = value[0].__class__
    if not all(item.__class__ is first for item in value):
        raise Unlisted
    if first is UUID:
        return f"{{{','.join([f'{item.int:032x}' for item in value])}}}".encode(), _UUID_ARRAY, Format.TEXT
    if first is int:
        array_type = _INT_ARRAYS[_write_int(max(value, key=abs))[1]]
        return f"{{{','.join(map(str, value))}}}".encode(), array_type, Format.TEXT
    if first is str and all(map(_is_plain, value)):
        return f"{{{','.join(value)}}}".encode(), _UNKNOWN, Format.TEXT
    raise Unlisted


def _is_plain(text: str) -> bool:
    """True if a text needs no quotes in an array."""
    return bool(text) and _NEEDS_QUOTES.isdisjoint(text) and text.lower() != "null"


def _write_other(value: Any) -> Written:
    if isinstance(value, str):  # a member of an enum
        return _write_text(value)
    raise Unlisted


_WRITERS: dict[type[Any], Callable[[Any], Written]] = {
    NoneType: lambda _: (None, _UNKNOWN, Format.TEXT),
    str: _write_text,
    bool: lambda value: (b"\x01" if value else b"\x00", _BOOL, Format.BINARY),
    int: _write_int,
    UUID: lambda value: (value.bytes, _UUID, Format.BINARY),
    bytes: lambda value: (value, _BYTEA, Format.BINARY),
    datetime: _write_time,
    list: _write_list,
}
