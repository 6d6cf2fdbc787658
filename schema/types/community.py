"""The community's figures, leaderboards, what the platform owes, and the history of its policy."""

from typing import Annotated, Any

import strawberry
from sqlalchemy.ext.asyncio import AsyncSession

from resolvers.context import Info
from schema.types import lazy
from schema.types.enums import LeaderboardBy, Period
from schema.types.fields import reference
from schema.types.identity import PlatformPolicy
from schema.types.money import Amount
from services.access.actor import Actor
from services.collectives import platform_policy
from services.volunteering import community_stats as community_service

PLACES = 10
Within = Annotated[Period | None, strawberry.argument(description="How far back to look.")]


@strawberry.type(description="What the community did in a period, by ledger time. For everybody.")
class CommunityStats:
    period: Period = strawberry.field(description="How far back the figures look.")
    issued: Amount = strawberry.field(
        description="Currents that nonprofits issued for hours, less what was refunded."
    )
    accepted: Amount = strawberry.field(
        description="Currents that businesses accepted, less what was refunded."
    )
    active_volunteers: int = strawberry.field(description="How many people were credited hours.")


@strawberry.type(description="A place on a leaderboard.")
class LeaderboardEntry:
    rank: int = strawberry.field(description="The place, from 1; equal amounts have equal ranks.")
    amount: Amount = strawberry.field(description="Currents issued, accepted or earned.")

    collective = reference(
        "collective", "collective_id", description="Who stands there.", graphql_type=lazy.COLLECTIVE
    )


@strawberry.type(description="Currents that an issuer has outstanding.")
class IssuerLiability:
    amount: Amount = strawberry.field(description="What it issued, less what came back.")

    issuer = reference(
        "collective", "issuer_id", description="Who issued them.", graphql_type=lazy.COLLECTIVE
    )


@strawberry.type(description="What the platform owes, and what it has to pay it.")
class LiabilityReport:
    owed: Amount = strawberry.field(
        description="Dollars of redemptions that are approved and not paid, before the platform's fee."
    )
    owed_count: int = strawberry.field(description="How many redemptions that are.")
    available: Amount = strawberry.field(description="Dollars that the platform can spend.")
    outstanding: list[IssuerLiability] = strawberry.field(
        description="Currents outstanding by issuer, the largest first."
    )
    outstanding_total: Amount = strawberry.field(description="All currents outstanding.")


@strawberry.type
class CommunityQueries:
    @strawberry.field(description="The community's figures.", graphql_type=CommunityStats)
    async def community_stats(self, info: Info, period: Within = Period.ALL_TIME) -> Any:
        return await info.context.run(_stats, period=period or Period.ALL_TIME)

    @strawberry.field(
        description="Who issued, accepted or earned most, the first place first; equal amounts by slug. "
        "People known by email alone, and who is archived or was merged, have no place. INVALID_INPUT.",
        graphql_type=list[LeaderboardEntry],
    )
    async def leaderboard(
        self,
        info: Info,
        by: Annotated[LeaderboardBy, strawberry.argument(description="Who is ranked.")],
        period: Within = Period.ALL_TIME,
        first: Annotated[
            int | None, strawberry.argument(description="How many places, from 1 to 100.")
        ] = PLACES,
    ) -> Any:
        return await info.context.run(
            _leaderboard, by=by, period=period or Period.ALL_TIME, first=PLACES if first is None else first
        )

    @strawberry.field(
        description="What the platform owes and has. For the platform's ADMINs and ACCOUNTANTs.",
        graphql_type=LiabilityReport | None,
    )
    async def liability_report(self, info: Info) -> Any:
        return await info.context.run(community_service.liability)

    @strawberry.field(
        description="Every policy that holds, held or was set to hold later, newest first.",
        graphql_type=list[PlatformPolicy],
    )
    async def platform_policies(self, info: Info) -> Any:
        return await info.context.run(_policies)


async def _stats(session: AsyncSession, _: Actor, /, *, period: Period) -> Any:
    return await community_service.stats(session, period=period)


async def _leaderboard(
    session: AsyncSession, _: Actor, /, *, by: LeaderboardBy, period: Period, first: int
) -> Any:
    return await community_service.leaderboard(session, by=by, period=period, first=first)


async def _policies(session: AsyncSession, _: Actor) -> Any:
    return await platform_policy.policies(session)
