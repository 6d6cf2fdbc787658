"""Input of mutations as Strawberry converts it, with all that depends on types alone decided once.

Strawberry asks for each value what its type is, which cost more than the values.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING
from functools import cache, partial
from typing import Any

from strawberry.schema.config import StrawberryConfig
from strawberry.types.arguments import StrawberryArgument, _is_leaf_type, convert_argument
from strawberry.types.base import (
    StrawberryList,
    StrawberryMaybe,
    StrawberryOptional,
    has_object_definition,
)
from strawberry.types.unset import UNSET

Convert = Callable[[Any], Any]


class Converter:
    """Converts input values by their types."""

    def __init__(self, scalar_registry: Any, config: StrawberryConfig) -> None:
        """Convert as Strawberry does with these scalars and this configuration."""
        self._registry, self._config = scalar_registry, config
        self._input = cache(self._build_input)

    def arguments(self, arguments: Sequence[StrawberryArgument]) -> Convert:
        """Return the function from graphql-core's arguments to those of a resolver."""
        known = [
            (self._config.name_converter.from_argument(each), each.python_name, self._value(each.type))
            for each in arguments
        ]

        def convert(values: dict[str, Any]) -> dict[str, Any]:
            return {python: value(values[name]) for name, python, value in known if name in values}

        return convert

    def _value(self, type_: Any) -> Convert:
        """Return the conversion of a type."""
        if isinstance(type_, StrawberryOptional) and not isinstance(type_, StrawberryMaybe):
            return self._value(type_.of_type)
        if isinstance(type_, StrawberryList):
            return partial(_convert_list, self._value(type_.of_type))
        if _is_leaf_type(type_, self._registry):
            return _keep
        if has_object_definition(type_) and type_.__strawberry_definition__.from_input is None:
            return self._input(type_)
        return partial(convert_argument, type_=type_, scalar_registry=self._registry, config=self._config)

    def _build_input(self, type_: Any) -> Convert:
        definition = type_.__strawberry_definition__
        unset = {
            field.python_name: None
            for field in definition.fields
            if definition.is_input and field.default_value is MISSING and field.default_factory is MISSING
        }
        known = [
            (
                self._config.name_converter.from_field(field),
                field.python_name,
                self._value(field.resolve_type(type_definition=definition)),
            )
            for field in definition.fields
        ]

        def convert(value: Any) -> Any:
            if value is None or value is UNSET:
                return value
            given = {python: inner(value[name]) for name, python, inner in known if name in value}
            return type_(**{**unset, **given})

        return convert


def _keep(value: Any) -> Any:
    return value


def _convert_list(item: Convert, value: Any) -> Any:
    return value if value is None or value is UNSET else [item(each) for each in value]
