"""Fragments of SQL that build JSON texts.

They are strings: composing hundreds of pieces as SQLAlchemy objects took 50 ms.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from itertools import groupby

from models.iso4217 import CURRENCIES


class Sql(str):
    """An SQL expression; any other string is a literal text."""

    __slots__ = ()


Piece = str | Sql
ID_DELIMITER = "\x01"
"""Encloses an id, as type and UUID, or a cursor. No text contains it, because JSON escapes it."""
CURSOR_MARK = "@"
"""Begins a cursor, as sort, UUID and sort value; the names of types are letters."""
POSITION_MARK = "~"
"""Begins the position of a snapshot in the stream of live events, as snapshot and timeline."""
NULL_VIOLATION = "\x02"
"""Marks what PostgreSQL cannot answer: a NULL in a non-null field, or a collective that is not found."""
_USUAL_EXPONENT = 2
"""The decimal places of most currencies."""


def literal(value: str) -> Sql:
    """Quote a text, such as `'null'`.

    Safe, because response keys are GraphQL names and all other texts are our own.
    """
    return Sql("'" + value.replace("'", "''") + "'")


def concatenate(pieces: Sequence[Piece]) -> Sql:
    """Concatenate pieces; adjacent texts become one.

    Example: `'{"name":' || to_json(t.name)::text || '}'`.
    """
    operands: list[str] = []
    for is_sql, group in groupby(pieces, key=lambda piece: isinstance(piece, Sql)):
        run = list(group)
        operands += run if is_sql else [literal("".join(run))]
    return Sql(" || ".join(operands))


def case(condition: str, then: Piece, otherwise: Sql) -> Sql:
    """Choose one of two expressions.

    Example: `CASE WHEN t1.id IS NULL THEN 'null' ELSE t1.name END`.
    """
    then = then if isinstance(then, Sql) else literal(then)
    return Sql(f"CASE WHEN {condition} THEN {then} ELSE {otherwise} END")


def replace_null(pieces: list[Piece], null: str, is_nullable: bool) -> list[Piece]:
    """Replace NULL by the text `null` if a piece is nullable.

    Example: `coalesce(t.at::text, 'null')`.
    """
    return [Sql(f"coalesce({concatenate(pieces)}, {literal(null)})")] if is_nullable else pieces


def major_units(amount_minor: str, currency: str) -> Sql:
    """Convert to major units with all decimal places of the currency.

    Example: `(t.amount::numeric * (CASE … END))::text`.
    """
    unit = map_exponent(currency, lambda places: str(Decimal(1).scaleb(-places)))
    return Sql(f"({amount_minor}::numeric * {unit})::text")


def map_exponent(currency: str, to_sql: Callable[[int], str]) -> Sql:
    """Map the number of a currency's decimal places to SQL.

    Example: `(CASE WHEN t.currency IN ('JPY') THEN 0 ELSE 2 END)`.
    """
    cases = (f"WHEN {currency} IN ({codes}) THEN {to_sql(places)}" for places, codes in _unusual_exponents())
    return Sql(f"(CASE {' '.join(cases)} ELSE {to_sql(_USUAL_EXPONENT)} END)")


@cache
def _unusual_exponents() -> list[tuple[int, str]]:
    """Return the codes of the currencies with each number of decimal places, but for the usual one."""
    numbers = sorted({places for places, *_ in CURRENCIES.values()} - {_USUAL_EXPONENT})
    codes = (sorted(code for code, facts in CURRENCIES.items() if facts[0] == each) for each in numbers)
    return [(each, ", ".join(map(literal, some))) for each, some in zip(numbers, codes, strict=True)]
