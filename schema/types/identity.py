"""Sessions, access tokens and the platform policy."""

from datetime import datetime
from decimal import Decimal

import strawberry

import models
from dataloaders import Loaders
from schema.types import lazy
from schema.types.enums import Scope
from schema.types.fields import to_one
from schema.types.money import fixed_currency_field
from schema.types.node import Node, id_field, is_row_of
from services.identity import sessions
from services.ledger.transaction_amounts import CURRENTS


@strawberry.type(description="A session of a signed-in user.")
class Session:
    token: str = strawberry.field(
        description="Bearer token, shown only once; send it as `Authorization: Bearer <token>`. Empty if "
        "the request had the header `Commonweal-Cookie`: the token is then kept in a cookie "
        "that scripts cannot read."
    )
    expires_at: datetime = strawberry.field(description="When the session expires.")


@strawberry.type(description="A session in which you are signed in. Visible only to its user.")
class ActiveSession:
    is_type_of = is_row_of(sessions.OpenSession)
    id: strawberry.ID = id_field("Session", description="ID of the session, for `endSession`.")
    device: str | None = strawberry.field(
        description="Name that the browser or program gave itself at sign-in. Null if it gave none."
    )
    network: str | None = strawberry.field(
        description="Network address of the sign-in, for IPv6 its /64 network. Null if it is unknown."
    )
    created_at: datetime = strawberry.field(description="When you signed in.")
    last_used_at: datetime = strawberry.field(
        description="When the session was last used, to the hour. It ends 14 days later."
    )
    expires_at: datetime = strawberry.field(description="When the session ends, even if it is used.")
    is_current: bool = strawberry.field(description="True for the session of this request.")


@strawberry.type(description="An access token for programs. Visible only to the user who created it.")
class AccessToken(Node):
    is_type_of = is_row_of(models.Token)
    id: strawberry.ID = id_field("AccessToken")
    name: str | None = strawberry.field(description="Name chosen by the user who created the token.")
    scopes: list[Scope] = strawberry.field(description="Operations that the token allows.")
    created_at: datetime = strawberry.field(description="When the token was created.")
    expires_at: datetime = strawberry.field(description="When the token expires.")
    revoked_at: datetime | None = strawberry.field(description="When the token was revoked.")


@strawberry.type(
    description="The platform's fees, limits and value of a current from a point in time on. An order "
    "keeps the policy in force when it was created."
)
class PlatformPolicy:
    is_type_of = is_row_of(models.PlatformPolicy)

    platform_fee_bps: int = strawberry.field(
        description="Platform fee on money that enters a host, in basis points."
    )
    usd_per_current: Decimal = strawberry.field(description="Value of one current in US dollars.")
    redemption_fee_bps: int = strawberry.field(
        description="Platform fee on the dollars that a redemption pays, in basis points."
    )
    check_in_minutes: int = strawberry.field(
        description="Minutes before its start at which an event's check-in opens."
    )
    valid_from: datetime = strawberry.field(description="When the policy takes effect.")

    master_weekly_limit = fixed_currency_field(
        "master_weekly_limit_minor",
        CURRENTS,
        description="Currents that one user may spend on master offers within seven days.",
    )
    signup_bonus = fixed_currency_field(
        "signup_bonus_minor",
        CURRENTS,
        description="Currents that a user receives once, on claiming their account. Zero if there is no "
        "bonus.",
    )
    max_event_hours = fixed_currency_field(
        "max_event_hours_minor",
        CURRENTS,
        description="Maximum currents that one attendance of an event credits.",
    )
    default_issuance_cap = fixed_currency_field(
        "default_issuance_cap_minor",
        CURRENTS,
        description="Maximum currents that a nonprofit issues a month while the platform has set it no cap.",
    )
    confirm_above = fixed_currency_field(
        "confirm_above_minor",
        "USD",
        description="Amount in USD above which approving and giving money need a session confirmed within "
        "10 minutes.",
    )

    created_by = to_one(
        Loaders.collective,
        "created_by_id",
        description="The platform admin who set the policy. Null for the first policy.",
        graphql_type=lazy.nullable(lazy.USER),
    )
