"""Leaves: values of scalars and enums, serialized as graphql-core would."""

from collections.abc import Callable
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLNonNull,
    GraphQLOutputType,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)


class FallBack(Exception):
    """There is an error to report, which is graphql-core's: it must run the operation."""


def is_leaf(output_type: GraphQLOutputType) -> bool:
    """Return True for a scalar or enum, or a list of them, nullable or not."""
    while is_non_null_type(output_type) or is_list_type(output_type):
        output_type = output_type.of_type
    return is_leaf_type(output_type)


def serializer(output_type: GraphQLOutputType) -> Callable[[Any], Any]:
    """Return the function that serializes a leaf or a list of leaves; it falls back at errors."""
    if isinstance(output_type, GraphQLNonNull):
        inner = serializer(output_type.of_type)

        def serialize_non_null(value: Any) -> Any:
            if value is None or (serialized := inner(value)) is None:
                raise FallBack("null in a non-null field")
            return serialized

        return serialize_non_null
    if is_list_type(output_type):
        item = serializer(output_type.of_type)

        def serialize_list(value: Any) -> Any:
            if value is None:
                return None
            if not isinstance(value, list | tuple):
                raise FallBack("not a list")
            return [item(entry) for entry in value]

        return serialize_list
    one = (
        enum_names(output_type).__getitem__
        if isinstance(output_type, GraphQLEnumType)
        else _scalar(output_type)
    )
    return lambda value: None if value is None else one(value)


def _scalar(output_type: Any) -> Callable[[Any], Any]:
    serialize: Callable[[Any], Any] = output_type.coerce_output_value
    return serialize


def enum_names(output_type: GraphQLEnumType) -> dict[Any, str]:
    """Return an enum's names by value; a StrEnum member is also found by its text."""
    return {value.value: name for name, value in output_type.values.items()}
