"""The GraphQL schema, built once, and its SDL."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import strawberry
from graphql import (
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    get_named_type,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from schema.mutations.accounts import AccountMutations
from schema.mutations.approval_policies import ApprovalPolicyMutations
from schema.mutations.check_in import CheckInMutations
from schema.mutations.clearing import ClearingMutations
from schema.mutations.collectives import CollectiveMutations
from schema.mutations.email_changes import EmailChangeMutations
from schema.mutations.event_registrations import EventRegistrationMutations
from schema.mutations.events import EventMutations
from schema.mutations.factors import FactorMutations
from schema.mutations.guests import GuestMutations
from schema.mutations.hosting import HostingMutations
from schema.mutations.hosts import HostMutations
from schema.mutations.hours import HoursMutations
from schema.mutations.identity import IdentityMutations
from schema.mutations.jobs import JobMutations
from schema.mutations.members import MemberMutations
from schema.mutations.offers import OfferMutations
from schema.mutations.order_answers import OrderAnswerMutations
from schema.mutations.order_decisions import OrderDecisionMutations
from schema.mutations.orders import OrderMutations
from schema.mutations.passkeys import PasskeyMutations
from schema.mutations.payment_methods import PaymentMethodMutations
from schema.mutations.personal import PersonalMutations
from schema.mutations.platform import PlatformMutations
from schema.mutations.provider_sign_ins import ProviderSignInMutations
from schema.mutations.providers import ProviderMutations
from schema.mutations.recurring_gifts import RecurringGiftMutations
from schema.mutations.tiers import TierMutations
from schema.mutations.users import UserMutations
from schema.types.collective import Business, Community, Event, Nonprofit
from schema.types.errors import MutationError
from schema.types.query import Query
from schema.types.scalars import SCALARS
from schema.types.subscription import Subscription
from schema.types.user import User


@strawberry.type(
    description="The entry point of mutations. A field that fails is rolled back as a whole; a top-level "
    "error rolls back all fields."
)
class Mutation(
    AccountMutations,
    PersonalMutations,
    ApprovalPolicyMutations,
    IdentityMutations,
    JobMutations,
    EmailChangeMutations,
    ProviderSignInMutations,
    FactorMutations,
    PasskeyMutations,
    CollectiveMutations,
    HostingMutations,
    PaymentMethodMutations,
    HostMutations,
    MemberMutations,
    OrderMutations,
    OrderDecisionMutations,
    OrderAnswerMutations,
    ClearingMutations,
    UserMutations,
    PlatformMutations,
    HoursMutations,
    OfferMutations,
    GuestMutations,
    ProviderMutations,
    TierMutations,
    RecurringGiftMutations,
    EventMutations,
    EventRegistrationMutations,
    CheckInMutations,
):
    pass


class _UseParsedDocument(SchemaExtension):
    """Use the document already parsed and validated by the unit of work, so that neither is repeated."""

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context.context
        if context is not None and context.document is not None:
            self.execution_context.graphql_document = context.document
            self.execution_context.pre_execution_errors = []
        yield


def _resolve_event(source: object, _: GraphQLResolveInfo[Any], /, **__: object) -> object:
    """Resolve a subscription's field to its event."""
    return source


class _Schema(strawberry.Schema):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        mutation = self._schema.mutation_type
        assert mutation is not None
        self.graphql_schema, self.mutation_root = self._schema, mutation
        for field in mutation.fields.values():
            for argument in field.args.values():
                # A mutation takes a single input, described by its type.
                argument.description = getattr(get_named_type(argument.type), "description", None)

        for named_type in self._schema.type_map.values():
            if (
                isinstance(named_type, GraphQLInputObjectType)
                and named_type.extensions["strawberry-definition"].is_one_of
            ):
                # Strawberry's own rule fails on undeclared variables, and on variables in fragments.
                named_type.is_one_of = True

        subscription = self._schema.subscription_type
        assert subscription is not None
        for field in subscription.fields.values():
            # Strawberry's own resolver would mistake an argument named `event` for the event.
            field.resolve = _resolve_event

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Log nothing: problems are expected, and other errors are logged once, when they are masked."""


@cache
def schema() -> strawberry.Schema:
    """Return the schema, built on the first call."""
    return _Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[User, Community, Nonprofit, Business, Event, MutationError],
        extensions=[_UseParsedDocument],
        config=StrawberryConfig(scalar_map=SCALARS),
    )


def graphql_schema() -> GraphQLSchema:
    """Return the schema as graphql-core has it."""
    built = schema()
    assert isinstance(built, _Schema)
    return built.graphql_schema


def mutation_root() -> GraphQLObjectType:
    """Return the root type of mutations."""
    built = schema()
    assert isinstance(built, _Schema)
    return built.mutation_root


_ONE_OF = "directive @oneOf on INPUT_OBJECT"


def sdl() -> str:
    """Return the schema in the schema definition language."""
    # Strawberry prints directives without their descriptions.
    described = f'"""Exactly one field of the input must be set."""\n{_ONE_OF}'
    return schema().as_str().replace(_ONE_OF, described, 1) + "\n"
