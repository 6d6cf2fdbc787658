"""The schema, put together once."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import strawberry
from graphql import GraphQLError, GraphQLInputObjectType, GraphQLResolveInfo, get_named_type
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from schema.mutations.check_in import AttendanceMutations
from schema.mutations.collectives import CollectiveMutations
from schema.mutations.events import EventMutations
from schema.mutations.hours import TimeMutations
from schema.mutations.identity import IdentityMutations
from schema.mutations.members import MemberMutations
from schema.mutations.offers import OfferMutations
from schema.mutations.order_decisions import DecisionMutations
from schema.mutations.orders import OrderMutations
from schema.mutations.platform import PlatformMutations
from schema.mutations.users import PeopleMutations
from schema.types.collective import Business, Community, Event, Nonprofit, User
from schema.types.errors import MutationError
from schema.types.query import Query
from schema.types.scalars import SCALARS
from schema.types.subscription import Subscription


@strawberry.type(
    description="What can be done. A field that fails is undone as a whole; a top-level error undoes all."
)
class Mutation(
    IdentityMutations,
    CollectiveMutations,
    MemberMutations,
    OrderMutations,
    DecisionMutations,
    PeopleMutations,
    PlatformMutations,
    TimeMutations,
    OfferMutations,
    EventMutations,
    AttendanceMutations,
):
    pass


class _Prepared(SchemaExtension):
    """Take the document that the unit of work has parsed and validated; do neither again."""

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context.context
        if context is not None and context.document is not None:
            self.execution_context.graphql_document = context.document
            self.execution_context.pre_execution_errors = []
        yield


def _told(source: Any, _: GraphQLResolveInfo[Any], /, **__: Any) -> Any:
    """Return what a subscription is told."""
    return source


class _Schema(strawberry.Schema):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        mutation = self._schema.mutation_type
        assert mutation is not None
        for field in mutation.fields.values():
            for argument in field.args.values():
                # A mutation takes one input; what that is stands at its type.
                argument.description = getattr(get_named_type(argument.type), "description", None)

        for kind in self._schema.type_map.values():
            if (
                isinstance(kind, GraphQLInputObjectType)
                and kind.extensions["strawberry-definition"].is_one_of
            ):
                # Strawberry's own rule fails at variables that nobody declared, and at those in fragments.
                kind.is_one_of = True

        subscription = self._schema.subscription_type
        assert subscription is not None
        for field in subscription.fields.values():
            # Strawberry's own would take an argument named `event` for what it is told.
            field.resolve = _told

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Log nothing here: problems are no news, and faults are logged once, where they are masked."""


@cache
def schema() -> strawberry.Schema:
    """Return the schema."""
    return _Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[User, Community, Nonprofit, Business, Event, MutationError],
        extensions=[_Prepared],
        config=StrawberryConfig(scalar_map=SCALARS),
    )


_ONE_OF = "directive @oneOf on INPUT_OBJECT"


def sdl() -> str:
    """Return the schema in the schema definition language."""
    # Strawberry prints directives without their descriptions.
    described = f'"""Exactly one of the input\'s fields is given."""\n{_ONE_OF}'
    return schema().as_str().replace(_ONE_OF, described, 1) + "\n"
