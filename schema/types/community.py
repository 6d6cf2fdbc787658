"""Community figures, leaderboards, platform liabilities and policy history."""

from typing import Annotated, Any, TypeAlias

import strawberry

import models
from dataloaders import Loaders
from resolvers.context import Info
from schema.types import lazy, sql_lists
from schema.types.clearing import ClearingDebt
from schema.types.enums import LeaderboardBy, Period
from schema.types.fields import computed, shaped, to_one, whole_list
from schema.types.identity import PlatformPolicy
from schema.types.money import Amount, fixed_currency_field
from schema.types.node import is_row_of
from services.collectives import platform_policy
from services.ledger import clearing as clearing_service
from services.ledger.transaction_amounts import CURRENTS
from services.sql_json.arguments import ListArguments, Unconditional
from services.sql_json.shape import Selects
from services.volunteering import community_stats as community_service
from services.volunteering import liability

Report: TypeAlias = strawberry.Parent[liability.LiabilityReport]
Within = Annotated[Period | None, strawberry.argument(description="Period that the figures cover.")]


@strawberry.type(description="Figures of the whole community in a period, by ledger time. Public.")
class CommunityStats:
    is_type_of = is_row_of(community_service.CommunityStats)
    period: Period = strawberry.field(description="Period that the figures cover.")
    issued: Amount = fixed_currency_field(
        "issued_minor", CURRENTS, description="Currents issued by nonprofits for hours, minus refunds."
    )
    accepted: Amount = fixed_currency_field(
        "accepted_minor", CURRENTS, description="Currents accepted by businesses, minus refunds."
    )
    active_volunteers: int = strawberry.field(description="Number of people who were credited hours.")


@strawberry.type(description="An entry on a leaderboard.")
class LeaderboardEntry:
    is_type_of = is_row_of(community_service.LeaderboardEntry)
    rank: int = strawberry.field(
        description="Rank on the leaderboard, starting at 1. Equal amounts have equal ranks."
    )

    amount = fixed_currency_field(
        "amount_minor", CURRENTS, description="Currents issued, accepted or earned."
    )

    collective = to_one(
        Loaders.collective,
        "collective_id",
        description="The nonprofit, business or person with this rank.",
        graphql_type=lazy.COLLECTIVE,
    )


@strawberry.type(description="Outstanding currents of one issuer.")
class IssuerLiability:
    is_type_of = is_row_of(liability.IssuerLiability)
    amount: Amount = fixed_currency_field(
        "amount_minor", CURRENTS, description="Currents issued, minus those returned."
    )

    issuer = to_one(
        Loaders.collective,
        "issuer_id",
        description="The collective that issued the currents.",
        graphql_type=lazy.COLLECTIVE,
    )


def _outstanding(root: Report) -> list[liability.IssuerLiability]:
    return root.outstanding


def _clearing(root: Report) -> list[clearing_service.ClearingDebt]:
    return root.clearing


@strawberry.type(description="Amounts that the platform owes, and the dollars it has to pay them.")
class LiabilityReport:
    is_type_of = is_row_of(liability.LiabilityReport)
    owed: Amount = fixed_currency_field(
        "owed_minor",
        liability.DOLLARS,
        description="US dollars of redemptions that are approved but not paid, before the platform's fee.",
    )
    owed_count: int = strawberry.field(description="Number of redemptions that are approved but not paid.")
    available: Amount = fixed_currency_field(
        "available_minor", liability.DOLLARS, description="US dollars that the platform can spend."
    )

    outstanding: list[IssuerLiability] = computed(
        shape=whole_list(liability.select_outstanding, liability.LARGEST_FIRST),
        description="Outstanding currents by issuer, largest amount first.",
        graphql_type=list[IssuerLiability],
    )(_outstanding)
    outstanding_total: Amount = fixed_currency_field(
        "outstanding_total_minor", CURRENTS, description="Sum of all outstanding currents."
    )
    clearing: list[ClearingDebt] = computed(
        shape=whole_list(clearing_service.select_ageing, clearing_service.BY_CREDITOR),
        description="Debts between hosts by age, by the creditor's slug, then the debtor's.",
        graphql_type=list[ClearingDebt],
    )(_clearing)


def _report_arguments(_: dict[str, Any]) -> ListArguments:
    return ListArguments(liability.select_report, Unconditional())


@strawberry.type
class CommunityQueries:
    @strawberry.field(
        description="Figures of the whole community. Public.", graphql_type=CommunityStats | None
    )
    @shaped(sql_lists.COMMUNITY_STATS)
    async def community_stats(
        self, info: Info, period: Within = Period.ALL_TIME
    ) -> community_service.CommunityStats:
        return await info.context.run_without_viewer(
            community_service.load_stats, period=period or Period.ALL_TIME
        )

    @strawberry.field(
        description="Collectives that issued, accepted or earned the most currents, best rank first; "
        "equal amounts by slug. Unclaimed users and archived or merged collectives are left "
        "out. Errors: INVALID_INPUT.",
        graphql_type=list[LeaderboardEntry] | None,
    )
    @shaped(sql_lists.LEADERBOARD)
    async def leaderboard(
        self,
        info: Info,
        by: Annotated[LeaderboardBy, strawberry.argument(description="Kind of collective to rank.")],
        period: Within = Period.ALL_TIME,
        first: Annotated[
            int | None, strawberry.argument(description="Number of entries, from 1 to 100. Defaults to 10.")
        ] = community_service.DEFAULT_PLACES,
    ) -> list[community_service.LeaderboardEntry]:
        return await info.context.run_without_viewer(
            community_service.list_leaders,
            by=by,
            period=period or Period.ALL_TIME,
            first=community_service.DEFAULT_PLACES if first is None else first,
        )

    @strawberry.field(
        description="Amounts that the platform owes, the dollars it has, and what hosts owe each other. "
        "Visible to the platform's admins and accountants.",
        graphql_type=LiabilityReport | None,
    )
    @shaped(Selects(_report_arguments, is_required=True))
    async def liability_report(self, info: Info) -> liability.LiabilityReport:
        return await info.context.run(liability.report_liability)

    @strawberry.field(
        description="All past, current and future versions of the platform policy, newest first.",
        graphql_type=list[PlatformPolicy],
    )
    @shaped(whole_list(platform_policy.select_policies, platform_policy.NEWEST_FIRST))
    async def platform_policies(self, info: Info) -> list[models.PlatformPolicy]:
        return await info.context.run_without_viewer(platform_policy.list_policies)
