"""Creating, editing and redeeming offers."""

from typing import Any
from uuid import UUID

import strawberry

import models
from resolvers import offers as resolve
from resolvers.context import Info
from schema.mutations.payload import MoneyInput, Payload, answer_order_payload, answer_payload
from schema.types.enums import RedemptionCap
from schema.types.money import AmountInput, to_unchecked
from schema.types.node import CollectiveRef, to_key
from schema.types.offer import Offer
from schema.types.order import Order
from services.core import public_ids
from services.offers import offers, redemption_requests

_EDITABLE = ("item", "description", "currents_share_percent", "monthly_limit")
_OFFER_ID = "ID of the offer, off_…"


@strawberry.input(description="An item for which a business accepts currents.")
class CreateOfferInput:
    business: CollectiveRef = strawberry.field(description="The business. You must be an admin of it.")
    item: str = strawberry.field(
        description="Name of the item for sale, at most 200 characters. Each item has at most one active "
        "offer."
    )
    currents_share_percent: int = strawberry.field(
        description="Share of the price payable in currents, from 5 to 100 percent."
    )
    monthly_limit: int | None = strawberry.field(
        default=None, description="Maximum number of redemptions per calendar month. Unlimited if omitted."
    )
    is_master: bool = strawberry.field(
        default=False,
        description="True if the offer covers any purchase, within the platform's weekly limit.",
    )
    description: str | None = strawberry.field(
        default=None, description="Description of the offer, at most 8192 characters. Public."
    )


@strawberry.type(description="The created offer.")
class CreateOfferPayload(Payload):
    offer: Offer | None = strawberry.field(default=None, description="The created offer.")


@strawberry.input(description="Changes to an active offer. Omitted fields stay unchanged.")
class UpdateOfferInput:
    id: strawberry.ID = strawberry.field(description=_OFFER_ID)
    item: str | None = strawberry.field(default=strawberry.UNSET, description="Name of the item for sale.")
    description: str | None = strawberry.field(
        default=strawberry.UNSET, description="Description of the offer. Null removes it."
    )
    currents_share_percent: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="Share of the price payable in currents, in percent. Existing orders keep their share.",
    )
    monthly_limit: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="Maximum number of redemptions per calendar month. Null if unlimited.",
    )


@strawberry.type(description="The updated offer.")
class UpdateOfferPayload(Payload):
    offer: Offer | None = strawberry.field(default=None, description="The updated offer.")


@strawberry.input(description="The offer to end.")
class DeactivateOfferInput:
    id: strawberry.ID = strawberry.field(description=_OFFER_ID)


@strawberry.type(description="The ended offer.")
class DeactivateOfferPayload(Payload):
    offer: Offer | None = strawberry.field(default=None, description="The ended offer.")


@strawberry.input(description="The offer to list first, or no longer.")
class FeatureOfferInput:
    id: strawberry.ID = strawberry.field(description=_OFFER_ID)
    is_featured: bool = strawberry.field(description="True to list the offer first, false to stop.")


@strawberry.type(description="The updated offer.")
class FeatureOfferPayload(Payload):
    offer: Offer | None = strawberry.field(default=None, description="The updated offer.")


@strawberry.input(description="A purchase to pay partly in currents. The server computes their number.")
class RedeemOfferInput(MoneyInput):
    offer: strawberry.ID = strawberry.field(description=_OFFER_ID)
    price: AmountInput = strawberry.field(description="Price of the purchase, in USD.")
    receipt: str = strawberry.field(
        description="Proof of the purchase: the ID of a receipt that you uploaded, rcp_…, or a text of at "
        "most 8096 characters."
    )
    place: str | None = strawberry.field(
        default=None, description="Place of the purchase, for offers that cover any purchase."
    )


@strawberry.type(description="The order of the redemption, PENDING. Its currents are held.")
class RedeemOfferPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order of the redemption.")

    @strawberry.field(
        description="Limits that reduced the currents. Empty if none did.",
        graphql_type=list[RedemptionCap],
    )
    async def caps(self, info: Info) -> list[str]:
        order: Any = self.order
        return await resolve.list_caps(order, info) if order else []


@strawberry.type
class OfferMutations:
    @strawberry.mutation(
        description="Create an offer to accept currents for an item. Allowed for admins of the business. "
        "Errors: CONFLICT if the item has an active offer."
    )
    async def create_offer(self, info: Info, input: CreateOfferInput) -> CreateOfferPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                offers.create,
                business=to_key(input.business),
                item=input.item,
                currents_share_percent=input.currents_share_percent,
                monthly_limit=input.monthly_limit,
                is_master=input.is_master,
                description=input.description,
            )
            return {"offer": row}

        return await answer_payload(info, CreateOfferPayload, work)

    @strawberry.mutation(
        description="Change an active offer. Allowed for admins of the business. Errors: CONFLICT, "
        "INVALID_STATE."
    )
    async def update_offer(self, info: Info, input: UpdateOfferInput) -> UpdateOfferPayload:
        changes = {
            name: value for name in _EDITABLE if (value := getattr(input, name)) is not strawberry.UNSET
        }

        async def work() -> dict[str, Any]:
            offer_id = public_ids.decode("Offer", input.id, field="id")
            return {"offer": await info.context.run(offers.edit, offer_id=offer_id, changes=changes)}

        return await answer_payload(info, UpdateOfferPayload, work)

    @strawberry.mutation(
        description="End an offer; existing redemptions continue. Allowed for admins of the business and "
        "of the platform. Errors: INVALID_STATE."
    )
    async def deactivate_offer(
        self,
        info: Info,
        input: DeactivateOfferInput,
    ) -> DeactivateOfferPayload:
        async def work() -> dict[str, Any]:
            offer_id = public_ids.decode("Offer", input.id, field="id")
            return {"offer": await info.context.run(offers.deactivate, offer_id=offer_id)}

        return await answer_payload(info, DeactivateOfferPayload, work)

    @strawberry.mutation(
        description="List an active offer first, or no longer. Allowed for platform admins. Errors: "
        "INVALID_STATE."
    )
    async def feature_offer(self, info: Info, input: FeatureOfferInput) -> FeatureOfferPayload:
        async def work() -> dict[str, Any]:
            offer_id = public_ids.decode("Offer", input.id, field="id")
            row = await info.context.run(offers.feature, offer_id=offer_id, is_featured=input.is_featured)
            return {"offer": row}

        return await answer_payload(info, FeatureOfferPayload, work)

    @strawberry.mutation(
        description="Pay part of a price in currents: the offer's share of it at the platform's rate, as "
        "far as your available balance and the monthly and weekly limits allow. The currents "
        "are held until the business approves; the platform then pays you their value in USD, "
        "minus its fee. Allowed for every user. Errors: INSUFFICIENT_FUNDS, LIMIT_EXCEEDED, "
        "AMOUNT_TOO_SMALL, INVALID_STATE."
    )
    async def redeem_offer(self, info: Info, input: RedeemOfferInput) -> RedeemOfferPayload:
        async def work(order_id: UUID) -> models.Order:
            return await info.context.run(
                redemption_requests.redeem,
                order_id=order_id,
                price=to_unchecked(input.price),
                receipt=input.receipt,
                offer_id=public_ids.decode("Offer", input.offer, field="offer"),
                place=input.place,
            )

        return await answer_order_payload(info, RedeemOfferPayload, input, "redeemOffer", work)
