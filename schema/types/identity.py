"""Sessions, access tokens and what the platform charges."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import strawberry

import models
from schema.types import lazy
from schema.types.enums import Scope
from schema.types.fields import derived, reference
from schema.types.money import Amount
from schema.types.node import Node, id_of, rows_of
from services.core.money import Money
from services.ledger.transaction_amounts import CURRENTS


@strawberry.type(description="A sign-in.")
class Session:
    token: str = strawberry.field(
        description="Shown once; to be sent as `Authorization: Bearer`. Empty where the request had the "
        "header `Commonweal-Cookie`: then a cookie holds it, which scripts cannot read."
    )
    expires_at: datetime = strawberry.field(description="Until when it holds.")


@strawberry.type(description="A token made for a program; only its maker sees it.")
class AccessToken(Node):
    is_type_of = rows_of(models.Token)
    id: strawberry.ID = id_of("AccessToken")
    name: str | None = strawberry.field(description="What its maker calls it.")
    scopes: list[Scope] = strawberry.field(description="What it may be used for.")
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime = strawberry.field(description="Until when it holds.")
    revoked_at: datetime | None = strawberry.field(description="When it was ended.")


@strawberry.type(
    description="What the platform charges and what a current is worth, from a moment on. An order keeps the "
    "policy that held when it was made."
)
class PlatformPolicy:
    @staticmethod
    def is_type_of(obj: Any, _: Any) -> bool:
        """A row of policies."""
        return isinstance(obj, models.PlatformPolicy)

    platform_fee_bps: int = strawberry.field(
        description="The platform's fee on money that enters a host, in basis points."
    )
    usd_per_current: Decimal = strawberry.field(description="What one current is worth, in US dollars.")
    redemption_fee_bps: int = strawberry.field(
        description="The platform's part of the dollars that a redemption pays, in basis points."
    )
    check_in_minutes: int = strawberry.field(
        description="How many minutes before its start an event's check-in opens."
    )
    valid_from: datetime = strawberry.field(description="Since when it holds.")

    @derived(
        description="How many currents a user gives for master offers within seven days.", graphql_type=Amount
    )
    def master_weekly_limit(root: strawberry.Parent[models.PlatformPolicy]) -> Any:
        return Money(root.master_weekly_limit_minor, CURRENTS)

    @derived(
        description="What a user gets who claims their account, once; zero is nothing.", graphql_type=Amount
    )
    def signup_bonus(root: strawberry.Parent[models.PlatformPolicy]) -> Any:
        return Money(root.signup_bonus_minor, CURRENTS)

    created_by = reference(
        "collective",
        "created_by_id",
        description="The platform admin who set it; null is the first policy.",
        graphql_type=lazy.optional(lazy.USER),
    )
