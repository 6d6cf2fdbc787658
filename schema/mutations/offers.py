"""Making offers, and giving currents for them."""

from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import MoneyInput, Payload, perform, perform_order
from schema.types.enums import RedemptionCap
from schema.types.money import AmountInput, asked
from schema.types.node import CollectiveRef, ref
from schema.types.offer import Offer
from schema.types.order import Order
from services.core import public_ids
from services.offers import offers, redemptions

_EDITABLE = ("item", "description", "currents_share_percent", "monthly_limit")
_OFFER = "The offer's id, off_…"


@strawberry.input(description="An item for which a business takes currents.")
class CreateOfferInput:
    business: CollectiveRef = strawberry.field(description="You are ADMIN of it.")
    item: str = strawberry.field(
        description="What can be bought, at most 200 characters; one active offer an item."
    )
    currents_share_percent: int = strawberry.field(
        description="Which part of the price currents pay, in percent, 5 to 100."
    )
    monthly_limit: int | None = strawberry.field(
        default=None, description="How many redemptions a calendar month allows; not given: no limit."
    )
    is_master: bool = strawberry.field(
        default=False, description="Whether it covers any purchase, within the platform's weekly limit."
    )
    description: str | None = strawberry.field(
        default=None, description="More about it, at most 8192 characters. Public."
    )


@strawberry.type(description="The new offer.")
class CreateOfferPayload(Payload):
    offer: Offer | None = strawberry.field(default=None, description="The offer.")


@strawberry.input(description="Changes to an active offer; what is not given stays.")
class UpdateOfferInput:
    id: strawberry.ID = strawberry.field(description=_OFFER)
    item: str | None = strawberry.field(default=strawberry.UNSET, description="What can be bought.")
    description: str | None = strawberry.field(
        default=strawberry.UNSET, description="More about it; null takes it away."
    )
    currents_share_percent: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="Which part of the price currents pay, in percent; orders that exist keep theirs.",
    )
    monthly_limit: int | None = strawberry.field(
        default=strawberry.UNSET, description="How many redemptions a month allows; null is no limit."
    )


@strawberry.type(description="The changed offer.")
class UpdateOfferPayload(Payload):
    offer: Offer | None = strawberry.field(default=None, description="The offer.")


@strawberry.input(description="An offer to end.")
class DeactivateOfferInput:
    id: strawberry.ID = strawberry.field(description=_OFFER)


@strawberry.type(description="The ended offer.")
class DeactivateOfferPayload(Payload):
    offer: Offer | None = strawberry.field(default=None, description="The offer.")


@strawberry.input(description="An offer to show first, or no more.")
class FeatureOfferInput:
    id: strawberry.ID = strawberry.field(description=_OFFER)
    is_featured: bool = strawberry.field(description="Yes or no.")


@strawberry.type(description="The offer as it is shown from now on.")
class FeatureOfferPayload(Payload):
    offer: Offer | None = strawberry.field(default=None, description="The offer.")


@strawberry.input(description="A purchase for which currents are given. The server computes how many.")
class RedeemOfferInput(MoneyInput):
    offer: strawberry.ID = strawberry.field(description=_OFFER)
    price: AmountInput = strawberry.field(description="What the purchase cost, in USD.")
    receipt: str = strawberry.field(
        description="What proves it: the id of a receipt that you uploaded, rcp_…, or a text of at most 8096 "
        "characters."
    )
    place: str | None = strawberry.field(
        default=None, description="Where it was made, for offers that cover any purchase."
    )


@strawberry.type(description="The order of a redemption, PENDING; its currents are held.")
class RedeemOfferPayload(Payload):
    order: Order | None = strawberry.field(default=None, description="The order.")

    @strawberry.field(
        description="What made the currents fewer than the price allows; empty if nothing did.",
        graphql_type=list[RedemptionCap],
    )
    async def caps(self, info: Info) -> Any:
        order: Any = self.order
        row = await info.context.loaders.redemption_of(order.id) if order else None
        return row.caps if row else []


@strawberry.type
class OfferMutations:
    @strawberry.mutation(
        description="Offer an item for currents. For ADMINs of the business. CONFLICT where an active offer "
        "of the item exists."
    )
    async def create_offer(self, info: Info, input: CreateOfferInput) -> CreateOfferPayload:
        async def work() -> dict[str, Any]:
            row = await info.context.run(
                offers.create,
                business=ref(input.business),
                item=input.item,
                currents_share_percent=input.currents_share_percent,
                monthly_limit=input.monthly_limit,
                is_master=input.is_master,
                description=input.description,
            )
            return {"offer": row}

        return await perform(info, CreateOfferPayload, work)

    @strawberry.mutation(
        description="Change an active offer. For ADMINs of the business. CONFLICT, INVALID_STATE."
    )
    async def update_offer(self, info: Info, input: UpdateOfferInput) -> UpdateOfferPayload:
        changes = {
            name: value for name in _EDITABLE if (value := getattr(input, name)) is not strawberry.UNSET
        }

        async def work() -> dict[str, Any]:
            offer_id = public_ids.decode("Offer", input.id, path=["input", "id"])
            return {"offer": await info.context.run(offers.edit, offer_id=offer_id, changes=changes)}

        return await perform(info, UpdateOfferPayload, work)

    @strawberry.mutation(
        description="End an offer; what was redeemed goes on. For ADMINs of the business, and of the "
        "platform. INVALID_STATE."
    )
    async def deactivate_offer(
        self,
        info: Info,
        input: DeactivateOfferInput,
    ) -> DeactivateOfferPayload:
        async def work() -> dict[str, Any]:
            offer_id = public_ids.decode("Offer", input.id, path=["input", "id"])
            return {"offer": await info.context.run(offers.deactivate, offer_id=offer_id)}

        return await perform(info, DeactivateOfferPayload, work)

    @strawberry.mutation(
        description="Show an active offer first, or no more. For platform ADMINs. INVALID_STATE."
    )
    async def feature_offer(self, info: Info, input: FeatureOfferInput) -> FeatureOfferPayload:
        async def work() -> dict[str, Any]:
            offer_id = public_ids.decode("Offer", input.id, path=["input", "id"])
            row = await info.context.run(offers.feature, offer_id=offer_id, is_featured=input.is_featured)
            return {"offer": row}

        return await perform(info, FeatureOfferPayload, work)

    @strawberry.mutation(
        description="Give currents for part of a price: the business's share of it, at the platform's rate, "
        "within what you have available and the limits of the offer and the week. They are held until the "
        "business approves; then the platform pays you their worth in USD, less its fee. For any user. "
        "INSUFFICIENT_FUNDS, LIMIT_EXCEEDED, AMOUNT_TOO_SMALL, INVALID_STATE."
    )
    async def redeem_offer(self, info: Info, input: RedeemOfferInput) -> RedeemOfferPayload:
        async def work(order_id: Any) -> Any:
            return await info.context.run(
                redemptions.redeem,
                order_id=order_id,
                price=asked(input.price),
                receipt=input.receipt,
                offer_id=public_ids.decode("Offer", input.offer, path=["input", "offer"]),
                place=input.place,
            )

        return await perform_order(info, RedeemOfferPayload, input, "redeemOffer", work)
