"""The schema, put together once."""

from functools import cache

import strawberry
from strawberry.schema.config import StrawberryConfig

from schema.collective import Business, Community, Event, Nonprofit, User
from schema.errors import MutationError
from schema.mutations.collectives import CollectiveMutations
from schema.mutations.decisions import DecisionMutations
from schema.mutations.identity import IdentityMutations
from schema.mutations.members import MemberMutations
from schema.mutations.orders import OrderMutations
from schema.mutations.platform import PlatformMutations
from schema.query import Query
from schema.scalars import SCALARS


@strawberry.type(description="What can be done. Each field is undone as a whole if it fails.")
class Mutation(
    IdentityMutations, CollectiveMutations, MemberMutations, OrderMutations, DecisionMutations,
    PlatformMutations,
):  # fmt: skip
    pass


@cache
def schema() -> strawberry.Schema:
    """Return the schema."""
    return strawberry.Schema(
        query=Query,
        mutation=Mutation,
        types=[User, Community, Nonprofit, Business, Event, MutationError],
        config=StrawberryConfig(scalar_map=SCALARS),
    )


def sdl() -> str:
    """Return the schema in the schema definition language."""
    return schema().as_str() + "\n"
