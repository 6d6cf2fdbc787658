"""Leaves as Python source: an expression that gives what graphql-core would have serialized."""

from collections.abc import Callable
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLID,
    GraphQLInt,
    GraphQLNonNull,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLString,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)

MAX_INT = 2**31


class GiveUp(Exception):
    """What the compiled query cannot answer."""


def is_leaf(kind: GraphQLOutputType) -> bool:
    """Whether a type is a scalar or an enum, or a list of them, nullable or not."""
    while is_non_null_type(kind) or is_list_type(kind):
        kind = kind.of_type
    return is_leaf_type(kind)


def serializer(kind: GraphQLOutputType) -> Callable[[Any], Any]:
    """Return what completes a value of a leaf type, or of a list of them; GiveUp where that is an error."""
    if isinstance(kind, GraphQLNonNull):
        inner = serializer(kind.of_type)

        def required(value: Any) -> Any:
            if value is None or (done := inner(value)) is None:
                raise GiveUp("null in a field that is never null")
            return done

        return required
    if is_list_type(kind):
        item = serializer(kind.of_type)

        def each(value: Any) -> Any:
            if value is None:
                return None
            if not isinstance(value, list | tuple):
                raise GiveUp("not a list")
            return [item(one) for one in value]

        return each
    one = enum_names(kind).__getitem__ if isinstance(kind, GraphQLEnumType) else _scalar(kind)
    return lambda value: None if value is None else one(value)


def _scalar(kind: Any) -> Callable[[Any], Any]:
    serialize: Callable[[Any], Any] = kind.coerce_output_value
    return serialize


def enum_names(kind: GraphQLEnumType) -> dict[Any, str]:
    """Return the names of an enum's values, by the value; a StrEnum's member is found by its text too."""
    return {value.value: name for name, value in kind.values.items()}


def expression(kind: GraphQLOutputType, source: str, bind: Callable[[Any], str]) -> str:
    """Return source that completes the value of the expression `source`.

    `bind` makes a name for an object and returns it. Texts, numbers, booleans and enums are tested in place;
    what is not as expected goes the long way.
    """
    slow = bind(serializer(kind))
    named = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
    if named in {GraphQLString, GraphQLID}:
        return f"(v if (v := {source}).__class__ is str else {slow}(v))"
    if named is GraphQLBoolean:
        return f"(v if (v := {source}).__class__ is bool else {slow}(v))"
    if named is GraphQLInt:
        return f"(v if (v := {source}).__class__ is int and {-MAX_INT} <= v < {MAX_INT} else {slow}(v))"
    if isinstance(named, GraphQLEnumType):
        names = bind(enum_names(named))
        return f"(v if (v := {names}.get({source})) is not None else {slow}({source}))"
    if isinstance(named, GraphQLScalarType):
        quick = bind(_scalar(named))
        return f"({quick}(v) if (v := {source}) is not None else {slow}(v))"
    return f"{slow}({source})"
