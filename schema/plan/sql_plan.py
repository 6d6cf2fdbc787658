"""Plans of the SQL backend: a shape with its parameters, and the shapes of single columns."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLObjectType,
    GraphQLOutputType,
    get_named_type,
    get_nullable_type,
    is_list_type,
)

from schema.plan import leaves
from schema.plan.collect_fields import NotCompilable
from schema.types.fields import TYPE_VALUES
from services.sql_json import shape
from services.sql_json.rows import JsonRead
from services.sql_json.shape import BoundShape, QueryShape, Value


@dataclass(frozen=True)
class SqlPlan:
    """The shape that PostgreSQL writes as JSON, and the source of its parameters."""

    shape: QueryShape
    parameters: dict[str, Callable[[Any], Any]]
    """Functions by parameter name, from the query's variables to the parameter's value."""

    def bind(self, variables: Any) -> JsonRead:
        """Bind the shape to the variables of one run.

        Raises:
            Problem: an argument is invalid.
            NotCompilable: an argument is valid, but only graphql-core supports it.
        """
        arguments = {name: value(variables) for name, value in self.parameters.items()}
        return JsonRead.of(BoundShape(self.shape, arguments))


shared_shape = lru_cache(maxsize=1_000)(QueryShape)
"""Equal shapes are one object, so that operations of any name share their statements."""


_ENCODINGS: dict[str, shape.Encoding] = {
    "String": "text",
    "Boolean": "number",
    "Int": "number",
    "BigInt": "decimal",
    "CurrencyCode": "bare_text",
    "Date": "date",
    "DateTime": "timestamp",
    "Decimal": "decimal",
    "JSON": "json",
}
"""Encodings of columns by the scalar of their field."""


def column_shape(output_type: GraphQLOutputType, name: str) -> Value:
    """Return the shape of a column that is returned unchanged."""
    named, is_list = get_named_type(output_type), is_list_type(get_nullable_type(output_type))
    encoding = _ENCODINGS.get(named.name)
    if isinstance(named, GraphQLEnumType):
        if any(str(value) != enum_name for value, enum_name in leaves.enum_names(named).items()):
            raise NotCompilable("an enum whose names differ from its values")
        encoding = "text" if is_list else "bare_text"
    if encoding is None or (is_list and encoding != "text"):
        raise NotCompilable(name)
    return shape.Column(encoding, name)


def type_values(object_type: GraphQLObjectType) -> tuple[str, ...]:
    """Return the values of the column `type` for rows of this type."""
    values: tuple[str, ...] = getattr(object_type.is_type_of, TYPE_VALUES, ())
    return values
