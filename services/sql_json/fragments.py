"""Texts that SQL puts together, as JSON has them.

They are written as SQL at once: hundreds of pieces as objects of SQLAlchemy took 50 ms to put together.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import groupby

from models.iso4217 import CURRENCIES


class Sql(str):
    """An expression of SQL; any other piece of a text stands for itself."""

    __slots__ = ()


Piece = str | Sql
_MOST = 2
"""The decimal places of most currencies."""


def literal(value: str) -> Sql:
    """Return a text that is written into the statement: keys of answers are names, and our own words safe."""
    return Sql("'" + value.replace("'", "''") + "'")


def text(pieces: Sequence[Piece]) -> Sql:
    """Return the pieces behind each other, those that are fixed put together first."""
    whole: list[str] = []
    for is_sql, group in groupby(pieces, key=lambda piece: isinstance(piece, Sql)):
        some = list(group)
        whole += some if is_sql else [literal("".join(some))]
    return Sql(" || ".join(whole))


def case(condition: str, then: Piece, otherwise: Sql) -> Sql:
    """Return one of two expressions; a `then` that is none stands for itself."""
    chosen = then if isinstance(then, Sql) else literal(then)
    return Sql(f"CASE WHEN {condition} THEN {chosen} ELSE {otherwise} END")


def unless_null(pieces: list[Piece], null: str, may_lack: bool) -> list[Piece]:
    """Return the pieces, or another word where one of them may be NULL."""
    return [Sql(f"coalesce({text(pieces)}, {literal(null)})")] if may_lack else pieces


def value_of(minor: str, currency: str) -> Sql:
    """Return an amount in major units, with all decimal places of its currency."""
    unit = by_places(currency, lambda places: str(Decimal(1).scaleb(-places)))
    return Sql(f"({minor}::numeric * {unit})::text")


def by_places(currency: str, word: Callable[[int], str]) -> Sql:
    """Return a number that hangs on how many decimal places a currency has; most have two."""
    cases = []
    for places in sorted({places for places, *_ in CURRENCIES.values()} - {_MOST}):
        codes = sorted(code for code, facts in CURRENCIES.items() if facts[0] == places)
        cases.append(f"WHEN {currency} IN ({', '.join(map(literal, codes))}) THEN {word(places)}")
    return Sql(f"(CASE {' '.join(cases)} ELSE {word(_MOST)} END)")
