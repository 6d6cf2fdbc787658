"""Scalars: exact numbers as strings, moments with their zone."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NewType

import strawberry
from graphql import FloatValueNode, GraphQLError, IntValueNode, StringValueNode, ValueNode

from services.core.errors import ErrorCode

BigInt = NewType("BigInt", int)
CurrencyCode = NewType("CurrencyCode", str)
Json = NewType("Json", dict[str, Any])
_MAX_NUMBER = 400


def _refuse(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": ErrorCode.INVALID_INPUT})


def parse_decimal(value: object) -> Decimal:
    """Read a number from a string or a JSON number; whether it is usable is the service's to say."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise _refuse("A Decimal is a number, best as a string")
    text = str(value)
    refusal = _refuse(f"This is not a number: {text[:40]!r}")
    if len(text) > _MAX_NUMBER or not text.isascii() or "_" in text:
        raise refusal
    try:
        return Decimal(text)
    except InvalidOperation:
        raise refusal from None


def parse_big_int(value: object) -> int:
    """Read a whole number of 64 bits from a string or a JSON number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _refuse("A BigInt is a whole number, best as a string")
    try:
        number = int(str(value)[:_MAX_NUMBER])
    except ValueError:
        raise _refuse("A BigInt is a whole number") from None
    if not -(2**63) <= number < 2**63:
        raise _refuse("A BigInt has 64 bits")
    return number


def _literal(parse: Callable[[object], Any]) -> Callable[..., Any]:
    """Return how a literal in a document is read: from its text, for a float would lose digits."""

    def read(node: ValueNode, _: object = None) -> Any:
        if not isinstance(node, StringValueNode | IntValueNode | FloatValueNode):
            raise _refuse("This must be a number")
        return parse(node.value)

    return read


def parse_datetime(value: object) -> datetime:
    """Read an RFC 3339 moment; one without a zone is refused, for it names no moment."""
    if not isinstance(value, str):
        raise _refuse("A DateTime is a string")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _refuse(f"This is not an RFC 3339 moment: {value[:40]!r}") from None
    if moment.tzinfo is None:
        raise _refuse("A DateTime needs its zone: Z or an offset")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise _refuse("This moment is out of range") from None


def show_datetime(moment: datetime) -> str:
    """Write a moment in UTC with microseconds and Z, always alike."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def show_decimal(number: Decimal) -> str:
    """Write a number without an exponent."""
    return format(number, "f")


SCALARS: dict[object, Any] = {
    Decimal: strawberry.scalar(
        name="Decimal",
        description="An exact number, as a string. Input takes a string or a JSON number.",
        serialize=show_decimal,
        parse_value=parse_decimal,
        parse_literal=_literal(parse_decimal),
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A whole number of 64 bits, as a string. Input takes a string or a JSON number.",
        serialize=str,
        parse_value=parse_big_int,
        parse_literal=_literal(parse_big_int),
    ),
    CurrencyCode: strawberry.scalar(
        name="CurrencyCode",
        description="A currency's ISO 4217 code, or CUR, the time currency.",
        specified_by_url="https://www.iso.org/iso-4217-currency-codes.html",
        serialize=str,
        parse_value=str,
    ),
    Json: strawberry.scalar(
        name="JSON", description="A JSON object.", serialize=lambda v: v, parse_value=lambda v: v
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment by RFC 3339, in UTC with microseconds. Input needs a zone.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=show_datetime,
        parse_value=parse_datetime,
    ),
    date: strawberry.scalar(
        name="Date",
        description="A day by RFC 3339, YYYY-MM-DD.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=date.isoformat,
        parse_value=date.fromisoformat,
    ),
}
