"""Plans of the SQL backend: a shape with its parameters, and the shapes of single columns."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLInt,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLString,
    get_named_type,
    get_nullable_type,
    is_list_type,
)

from schema.plan import leaf_source
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
            NotCompilable: an argument is valid, but only the Python backend supports it.
        """
        arguments = {name: value(variables) for name, value in self.parameters.items()}
        return JsonRead.of(BoundShape(self.shape, arguments))


shared_shape = lru_cache(maxsize=1_000)(QueryShape)
"""Equal shapes are one object, so that operations of any name share their statements."""


def column_shape(output_type: GraphQLOutputType, name: str) -> Value:
    """Return the shape of a column that is returned unchanged."""
    nullable = get_nullable_type(output_type)
    if nullable is GraphQLString or (is_list_type(nullable) and get_named_type(nullable) is GraphQLString):
        return shape.Column("text", name)
    if nullable in {GraphQLBoolean, GraphQLInt}:
        return shape.Column("number", name)
    if isinstance(nullable, GraphQLEnumType):
        if any(str(value) != enum_name for value, enum_name in leaf_source.enum_names(nullable).items()):
            raise NotCompilable("an enum whose names differ from its values")
        return shape.Column("bare_text", name)
    match getattr(nullable, "name", ""):
        case "CurrencyCode":
            return shape.Column("bare_text", name)
        case "DateTime":
            return shape.Column("timestamp", name)
        case "Decimal":
            return shape.Column("decimal", name)
    raise NotCompilable(name)


def type_values(object_type: GraphQLObjectType) -> tuple[str, ...]:
    """Return the values of the column `type` for rows of this type."""
    values: tuple[str, ...] = getattr(object_type.is_type_of, TYPE_VALUES, ())
    return values
