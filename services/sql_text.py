"""Texts put together in SQL, as JSON has them."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import reduce
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Integer, Numeric, Text, case, cast, func, literal_column

from models.iso4217 import CURRENCIES

Piece = str | ColumnElement[Any]
_MOST = 2
"""The decimal places of most currencies."""


def literal(value: str) -> ColumnElement[str]:
    """Return a text that is written into the statement: keys of answers are names, and our own words safe."""
    return literal_column("'" + value.replace("'", "''") + "'", Text)


def number(value: int) -> ColumnElement[int]:
    """Return a number that is written into the statement."""
    return literal_column(str(value), Integer)


def text(pieces: Sequence[Piece]) -> ColumnElement[str]:
    """Return the pieces behind each other, those that are fixed put together first."""
    whole: list[Any] = []
    for is_fixed, group in groupby(pieces, key=lambda piece: isinstance(piece, str)):
        some = list(group)
        whole += [literal("".join(map(str, some)))] if is_fixed else some
    return reduce(lambda one, other: one.concat(other), whole)


def unless_null(pieces: list[Piece], null: str, may_lack: bool) -> list[Piece]:
    """Return the pieces, or another word where one of them may be NULL."""
    return [func.coalesce(text(pieces), literal(null), type_=Text)] if may_lack else pieces


def value_of(minor: Any, currency: Any) -> ColumnElement[str]:
    """Return an amount in major units, with all decimal places of its currency."""
    unit = by_places(currency, lambda places: str(Decimal(1).scaleb(-places)))
    return cast(cast(minor, Numeric) * unit, Text)


def by_places(currency: Any, word: Callable[[int], str]) -> Any:
    """Return a number that hangs on how many decimal places a currency has; most have two."""
    others = sorted({places for places, *_ in CURRENCIES.values()} - {_MOST})
    codes = {p: sorted(code for code, facts in CURRENCIES.items() if facts[0] == p) for p in others}
    return case(
        *((currency.in_([literal(code) for code in codes[p]]), literal_column(word(p))) for p in others),
        else_=literal_column(word(_MOST)),
    )  # fmt: skip
