"""The root type of subscriptions, and their events."""

from typing import Annotated

import strawberry

import models
from resolvers import subscriptions as resolve
from resolvers.context import Info
from resolvers.subscriptions import EventPayload
from schema.types import lazy
from schema.types.node import CollectiveRef, is_row_of, to_key
from services.ledger.balances import Balance

Row = strawberry.Parent[EventPayload]
After = Annotated[
    str | None,
    strawberry.argument(
        description="Position to resume from: also deliver the events after it. Errors: INVALID_STATE if "
        "they are no longer kept."
    ),
]
_POSITION = "Opaque position of this event. Pass it as `after` to resume from here."


@strawberry.type(description="An order was created, decided or otherwise changed.")
class OrderChanged:
    is_type_of = is_row_of(EventPayload)
    position: str = strawberry.field(description=_POSITION)

    @strawberry.field(description="The order in its current state.", graphql_type=lazy.ORDER)
    def order(root: Row) -> models.Order:
        order: models.Order = root.row
        return order


@strawberry.type(description="A transaction was posted.")
class TransactionPosted:
    is_type_of = is_row_of(EventPayload)
    position: str = strawberry.field(description=_POSITION)

    @strawberry.field(description="The posted transaction.", graphql_type=lazy.TRANSACTION)
    def transaction(root: Row) -> models.Transaction:
        transaction: models.Transaction = root.row
        return transaction


@strawberry.type(description="A collective's balance changed.")
class BalanceChanged:
    is_type_of = is_row_of(EventPayload)
    position: str = strawberry.field(description=_POSITION)

    @strawberry.field(description="The collective whose balance changed.", graphql_type=lazy.COLLECTIVE)
    def collective(root: Row) -> models.Collective:
        collective: models.Collective = root.row
        return collective

    @strawberry.field(
        description="Current balances of the collective, its own currency first.",
        graphql_type=list[lazy.BALANCE],
    )
    def balances(root: Row) -> tuple[Balance, ...]:
        return root.balances


@strawberry.type(description="A person was checked in to or out of an event.")
class EventCheckIn:
    is_type_of = is_row_of(EventPayload)
    position: str = strawberry.field(description=_POSITION)

    @strawberry.field(description="The person's attendance at the event.", graphql_type=lazy.ATTENDANCE)
    def attendance(root: Row) -> models.Attendance:
        attendance: models.Attendance = root.row
        return attendance


@strawberry.type(
    description="The entry point of subscriptions. Each event is delivered to those who may see its "
    "object at that moment. Access tokens need the scope READ; when a token expires or is "
    "revoked, its subscriptions end."
)
class Subscription:
    @strawberry.subscription(
        description="Changes of one order, each with the order's state at that time. Errors: NOT_FOUND if "
        "the order does not exist or you may not see it.",
        graphql_type=OrderChanged,
    )
    async def order_changed(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="ID of the order.")],
        after: After = None,
    ) -> resolve.EventSource:
        return await resolve.watch_order(info, public_id=id, after=after)

    @strawberry.subscription(
        description="Transactions that a collective pays or receives, as they are posted. Errors: "
        "NOT_FOUND if the collective does not exist or you may not see it.",
        graphql_type=TransactionPosted,
    )
    async def transaction_posted(
        self,
        info: Info,
        collective: Annotated[CollectiveRef, strawberry.argument(description="The payer or payee.")],
        after: After = None,
    ) -> resolve.EventSource:
        return await resolve.watch_transactions(info, collective=to_key(collective), after=after)

    @strawberry.subscription(
        description="Balances of a collective, whenever they change; changes in quick succession may be "
        "combined. Errors: NOT_FOUND if you may not see them.",
        graphql_type=BalanceChanged,
    )
    async def balance_changed(
        self,
        info: Info,
        collective: Annotated[
            CollectiveRef, strawberry.argument(description="The collective whose balances to follow.")
        ],
        after: After = None,
    ) -> resolve.EventSource:
        return await resolve.watch_balance(info, collective=to_key(collective), after=after)

    @strawberry.subscription(
        description="Check-ins and check-outs of an event. Visible to admins and accountants of the event "
        "and of its parent. Errors: NOT_FOUND for everybody else.",
        graphql_type=EventCheckIn,
    )
    async def event_check_ins(
        self,
        info: Info,
        event: Annotated[CollectiveRef, strawberry.argument(description="The event to follow.")],
        after: After = None,
    ) -> resolve.EventSource:
        return await resolve.watch_check_ins(info, event=to_key(event), after=after)
