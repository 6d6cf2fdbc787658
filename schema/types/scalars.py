"""Custom scalars: exact numbers as strings, timestamps with a time zone."""

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


def _invalid_input(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": ErrorCode.INVALID_INPUT})


def parse_decimal(value: object) -> Decimal:
    """Parse a number from a string or a JSON number; services check its range."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise _invalid_input("Write a Decimal as a string or a number.")
    text = str(value)
    refusal = _invalid_input(f"Not a number: {text[:40]!r}.")
    if len(text) > _MAX_NUMBER or not text.isascii() or "_" in text:
        raise refusal
    try:
        return Decimal(text)
    except InvalidOperation:
        raise refusal from None


def parse_big_int(value: object) -> int:
    """Parse a 64-bit integer from a string or a JSON number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _invalid_input("Write a BigInt as a string or an integer.")
    try:
        number = int(str(value)[:_MAX_NUMBER])
    except ValueError:
        raise _invalid_input("A BigInt must be an integer.") from None
    if not -(2**63) <= number < 2**63:
        raise _invalid_input("A BigInt must fit in 64 bits.")
    return number


def _literal_parser(parse: Callable[[object], Any]) -> Callable[..., Any]:
    """Return a parser of literals that reads their text, because a float would lose digits."""

    def read(node: ValueNode, _: object = None) -> Any:
        if not isinstance(node, StringValueNode | IntValueNode | FloatValueNode):
            raise _invalid_input("The value must be a number.")
        return parse(node.value)

    return read


def parse_datetime(value: object) -> datetime:
    """Parse an RFC 3339 timestamp; without a time zone it is ambiguous, and refused."""
    if not isinstance(value, str):
        raise _invalid_input("Write a DateTime as a string.")
    try:
        timestamp = datetime.fromisoformat(value)
    except ValueError:
        raise _invalid_input(f"Not an RFC 3339 timestamp: {value[:40]!r}.") from None
    if timestamp.tzinfo is None:
        raise _invalid_input("A DateTime needs a time zone: Z or an offset.")
    try:
        return timestamp.astimezone(UTC)
    except OverflowError:
        raise _invalid_input("The DateTime is out of range.") from None


def parse_date(value: object) -> date:
    """Parse an RFC 3339 date."""
    if not isinstance(value, str):
        raise _invalid_input("Write a Date as a string.")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise _invalid_input(f"Not an RFC 3339 date, YYYY-MM-DD: {value[:40]!r}.") from None


def serialize_datetime(timestamp: datetime) -> str:
    """Format a timestamp in UTC with microseconds and Z, always in the same form."""
    if timestamp.tzinfo is not UTC:
        timestamp = timestamp.astimezone(UTC)
    return timestamp.isoformat(timespec="microseconds")[:26] + "Z"


def serialize_decimal(number: Decimal) -> str:
    """Format a number without an exponent."""
    return format(number, "f")


SCALARS: dict[object, Any] = {
    Decimal: strawberry.scalar(
        name="Decimal",
        description="An exact decimal number, written as a string. Input may be a string or a JSON number.",
        serialize=serialize_decimal,
        parse_value=parse_decimal,
        parse_literal=_literal_parser(parse_decimal),
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A 64-bit integer, written as a string. Input may be a string or a JSON number.",
        serialize=str,
        parse_value=parse_big_int,
        parse_literal=_literal_parser(parse_big_int),
    ),
    CurrencyCode: strawberry.scalar(
        name="CurrencyCode",
        description="The ISO 4217 code of a currency, or CUR, the time currency.",
        specified_by_url="https://www.iso.org/iso-4217-currency-codes.html",
        serialize=str,
        parse_value=str,
    ),
    Json: strawberry.scalar(
        name="JSON", description="A JSON object.", serialize=lambda v: v, parse_value=lambda v: v
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="An RFC 3339 timestamp in UTC with microseconds. Input needs a time zone.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=serialize_datetime,
        parse_value=parse_datetime,
    ),
    date: strawberry.scalar(
        name="Date",
        description="An RFC 3339 date, YYYY-MM-DD.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=date.isoformat,
        parse_value=parse_date,
    ),
}
