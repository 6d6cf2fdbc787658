"""Clearing between hosts, and settlements."""

from datetime import date, datetime
from typing import Annotated, Any

import strawberry

from dataloaders import Loaders
from models.settlement import SettlementSubject
from resolvers.context import Info
from schema.types import lazy
from schema.types.enums import publish_enum
from schema.types.fields import shaped, to_one
from schema.types.money import Amount, amount_field
from schema.types.node import CollectiveRef, is_row_of, to_key
from services.access import visibility
from services.access.collective_refs import ref_key
from services.ledger import clearing as clearing_service
from services.orders import settlements
from services.sql_json.arguments import ListArguments, Reference
from services.sql_json.shape import Selects

publish_enum(SettlementSubject)


@strawberry.type(
    description="Clearing between a host and one counterpart in one currency: what they owe each other for "
    "payments between their books, until they settle."
)
class Clearing:
    is_type_of = is_row_of(clearing_service.Clearing)
    owed: Amount = amount_field(
        "owed_minor", "currency", description="Amount that the counterpart owes the host."
    )
    owes: Amount = amount_field(
        "owes_minor", "currency", description="Amount that the host owes the counterpart."
    )
    limit: Amount = amount_field(
        "limit_minor",
        "currency",
        description="Maximum that the host allows the counterpart to owe it. Zero in the counterpart's own "
        "currency, in which it owes nothing.",
    )
    counterpart_limit: Amount = amount_field(
        "counterpart_limit_minor",
        "currency",
        description="Maximum that the counterpart allows the host to owe it. Zero in the host's own currency "
        "if that is another one.",
    )
    oldest_unsettled_at: datetime | None = strawberry.field(
        description="Time of the oldest payment that is not settled; the oldest are settled first. Null if "
        "nothing is owed."
    )

    counterpart = to_one(
        Loaders.collective, "counterpart_id", description="The other host.", graphql_type=lazy.COLLECTIVE
    )


@strawberry.type(description="Debt of one host to another, by the age of the payments that are not settled.")
class ClearingDebt:
    is_type_of = is_row_of(clearing_service.ClearingDebt)
    amount: Amount = amount_field(
        "amount_minor", "currency", description="Amount owed, in the creditor's currency."
    )
    days_0_to_30: Amount = amount_field(
        "days_0_to_30_minor",
        "currency",
        name="days0To30",
        description="Part of it that is at most 30 days old.",
    )
    days_31_to_60: Amount = amount_field(
        "days_31_to_60_minor",
        "currency",
        name="days31To60",
        description="Part of it that is 31 to 60 days old.",
    )
    days_61_to_90: Amount = amount_field(
        "days_61_to_90_minor",
        "currency",
        name="days61To90",
        description="Part of it that is 61 to 90 days old.",
    )
    older: Amount = amount_field(
        "older_minor", "currency", description="Part of it that is more than 90 days old."
    )

    debtor = to_one(
        Loaders.collective, "debtor_id", description="The host that owes.", graphql_type=lazy.COLLECTIVE
    )
    creditor = to_one(
        Loaders.collective, "creditor_id", description="The host that is owed.", graphql_type=lazy.COLLECTIVE
    )


@strawberry.type(description="The bank payment behind an order of type SETTLEMENT.")
class Settlement:
    is_type_of = is_row_of(settlements.SettlementDetails)
    reference: str = strawberry.field(description="Bank reference by which the creditor finds the payment.")
    paid = amount_field(
        "paid_minor", "currency", description="Amount that the debtor's bank paid, in the debtor's currency."
    )
    covers: SettlementSubject = strawberry.field(description="Debt that the settlement pays.")
    month: date | None = strawberry.field(
        description="First day of the month of a monthly settlement, which the server has asked for: it "
        "covers what the host kept for the platform until its end. Null for others."
    )
    fees = amount_field(
        "fees_minor",
        "currency",
        description="Part of a monthly settlement that is fees, in the debtor's currency. Null for others.",
        is_nullable=True,
    )
    tips = amount_field(
        "tips_minor",
        "currency",
        description="Part of a monthly settlement that is tips, in the debtor's currency. Null for others.",
        is_nullable=True,
    )


def _clearing_arguments(arguments: dict[str, Any]) -> ListArguments:
    key = ref_key("host", to_key(arguments["host"]))
    host = Reference(key, is_readable=visibility.private_fields_are_visible)
    where = clearing_service.ClearingFilter(host)
    return ListArguments(clearing_service.select_clearing, where, clearing_service.BY_COUNTERPART)


@strawberry.type
class ClearingQueries:
    @strawberry.field(
        description="Debts between a host and its counterparts, by the counterpart's slug. Visible to "
        "the host's admins and accountants, and to the platform's. Errors: NOT_FOUND.",
        graphql_type=list[Clearing] | None,
    )
    @shaped(Selects(_clearing_arguments))
    async def clearing(
        self,
        info: Info,
        host: Annotated[
            CollectiveRef, strawberry.argument(description="The host whose debts and claims are listed.")
        ],
    ) -> list[clearing_service.Clearing]:
        return await info.context.run(clearing_service.list_clearing, host=to_key(host))
