"""The root of subscriptions: what one is told of as it happens."""

from typing import Annotated, Any

import strawberry

from resolvers import subscriptions as resolve
from resolvers.context import Info
from resolvers.subscriptions import Shown
from schema.types import lazy
from schema.types.node import CollectiveRef, ref, rows_of

Row = strawberry.Parent[Shown]
After = Annotated[
    str | None,
    strawberry.argument(
        description="Also what happened after this `position`. INVALID_STATE if that is not kept any more."
    ),
]
_POSITION = "Opaque: give it as `after` to go on from here."


@strawberry.type(description="An order was made, decided, or changed in another way.")
class OrderChanged:
    is_type_of = rows_of(Shown)
    position: str = strawberry.field(description=_POSITION)

    @strawberry.field(description="The order as it is now.", graphql_type=lazy.ORDER)
    def order(root: Row) -> Any:
        return root.row


@strawberry.type(description="A transaction was posted.")
class TransactionPosted:
    is_type_of = rows_of(Shown)
    position: str = strawberry.field(description=_POSITION)

    @strawberry.field(description="The transaction.", graphql_type=lazy.TRANSACTION)
    def transaction(root: Row) -> Any:
        return root.row


@strawberry.type(description="What a collective has is not what it was.")
class BalanceChanged:
    is_type_of = rows_of(Shown)
    position: str = strawberry.field(description=_POSITION)

    @strawberry.field(description="The collective.", graphql_type=lazy.COLLECTIVE)
    def collective(root: Row) -> Any:
        return root.row

    @strawberry.field(description="What it has now, its own currency first.", graphql_type=list[lazy.BALANCE])
    def balances(root: Row) -> Any:
        return root.balances


@strawberry.type(description="Somebody was checked in to an event, or out.")
class EventCheckIn:
    is_type_of = rows_of(Shown)
    position: str = strawberry.field(description=_POSITION)

    @strawberry.field(description="Who, and when.", graphql_type=lazy.ATTENDANCE)
    def attendance(root: Row) -> Any:
        return root.row


@strawberry.type(
    description="What is told as it happens, to those who may see what it is about at that moment. "
    "Access tokens need the scope READ; a token that ends, ends what is followed by it."
)
class Subscription:
    @strawberry.subscription(
        description="Changes of an order, each with the order as it then is. NOT_FOUND if there is none that "
        "you may see.",
        graphql_type=OrderChanged,
    )
    async def order_changed(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The order's id.")],
        after: After = None,
    ) -> Any:
        return await resolve.order(info, public_id=id, after=after)

    @strawberry.subscription(
        description="Transactions with a collective on a side, as they are posted. NOT_FOUND if there is no "
        "such collective that you may see.",
        graphql_type=TransactionPosted,
    )
    async def transaction_posted(
        self,
        info: Info,
        collective: Annotated[CollectiveRef, strawberry.argument(description="The payer or the payee.")],
        after: After = None,
    ) -> Any:
        return await resolve.transactions(info, collective=ref(collective), after=after)

    @strawberry.subscription(
        description="What a collective has, whenever that changes; changes close together may be one. "
        "NOT_FOUND if you may not see it.",
        graphql_type=BalanceChanged,
    )
    async def balance_changed(
        self,
        info: Info,
        collective: Annotated[CollectiveRef, strawberry.argument(description="Whose balance.")],
        after: After = None,
    ) -> Any:
        return await resolve.balance(info, collective=ref(collective), after=after)

    @strawberry.subscription(
        description="Check-ins to an event, and check-outs; for its admins and accountants and its parent's, "
        "else NOT_FOUND.",
        graphql_type=EventCheckIn,
    )
    async def event_check_ins(
        self,
        info: Info,
        event: Annotated[CollectiveRef, strawberry.argument(description="The event.")],
        after: After = None,
    ) -> Any:
        return await resolve.check_ins(info, event=ref(event), after=after)
