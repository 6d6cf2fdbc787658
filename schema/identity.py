"""Sessions, access tokens and what the platform charges."""

from datetime import datetime
from typing import Any

import strawberry

import models
from schema.enums import Scope
from schema.node import Node, id_of, rows_of


@strawberry.type(description="A sign-in.")
class Session:
    token: str = strawberry.field(description="Shown once; to be sent as `Authorization: Bearer`.")
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


@strawberry.type(description="What the platform charges, from a moment on.")
class PlatformPolicy:
    @staticmethod
    def is_type_of(obj: Any, _: Any) -> bool:
        """A row of policies."""
        return isinstance(obj, models.PlatformPolicy)

    platform_fee_bps: int = strawberry.field(
        description="The platform's fee on money that enters a host, in basis points."
    )
    valid_from: datetime = strawberry.field(description="Since when it holds.")
