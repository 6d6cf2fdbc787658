"""A business with offers, and a user with currents."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import Collective, Order, Redemption
from models.enums import CollectiveType, MemberRole, OrderStatus, OrderType
from services.collectives import platform_policy
from services.core import public_ids
from services.ledger import posting
from tests.factories import Person, World, money, ref

ORDER = """order { id type status amount { value currency } approvedAmount { value } offer { item isActive }
    price { value } approvedPrice { value } payout { value currency } payoutFee { value } caps place
    receiptText from { slug } to { slug } actions { type toStatus reason amount { value } } } """
BALANCE = """query($s: String!, $c: CurrencyCode!) { collective(slug: $s) { balance(currency: $c) {
    posted { value } held { value } available { value } pending { value } } } }"""


@dataclass
class OfferScene:
    """john has currents and cafe accepts them; mark and ann are ADMINs of cafe."""

    world: World
    john: Person
    mark: Person
    ann: Person
    cafe: Collective

    @classmethod
    async def create(cls, world: World, *, currents: str = "30.000", dollars: str = "100.00") -> "OfferScene":
        """Create the people and the business, and fund the platform in dollars."""
        john, mark, ann = [await world.person(name) for name in ("john", "mark", "ann")]
        cafe = await world.community("cafe", None, mark, collective_type=CollectiveType.BUSINESS)
        await world.member(cafe, ann, MemberRole.ADMIN)
        await world.currents(john, value=currents)
        if dollars:
            await world.fund(world.platform, dollars, by=world.admin)
        return cls(world, john, mark, ann, cafe)

    async def offer(self, item: str = "Kombucha", *, share: int = 25, **more: Any) -> str:
        """Create an offer as the business's ADMIN; return its id."""
        payload = await self.world.mutate(
            "createOffer",
            "offer { id }",
            by=self.mark,
            business=ref(self.cafe),
            item=item,
            currentsSharePercent=share,
            **more,
        )
        assert payload["errors"] == [], payload
        return str(payload["offer"]["id"])

    async def redeem(
        self, offer: str, value: str = "20.00", *, by: Person | None = None, **more: Any
    ) -> dict[str, Any]:
        """Redeem an offer, as john by default; return the payload."""
        more = {"receipt": "Table 4, cash"} | more
        return await self.world.mutate(
            "redeemOffer", f"{ORDER} caps", by=by or self.john, offer=offer, price=money(value), **more
        )

    async def add_redemption(
        self, offer: str, amount_minor: int = 500, *, at: datetime, is_master: bool = False
    ) -> None:
        """Store a pending redemption of john's, with its hold, as of an earlier time."""
        async with self.world.sessions() as session, session.begin():
            order = Order(
                type=OrderType.REDEMPTION,
                status=OrderStatus.PENDING,
                created_by_id=self.john.user.id,
                from_id=self.john.user.id,
                to_id=self.cafe.id,
                currency="CUR",
                amount=amount_minor,
                offer_id=public_ids.decode("Offer", offer, field="offer"),
                policy_id=(await platform_policy.load_policy(session)).id,
                has_public_side=False,
                created_at=at,
                updated_at=at,
            )
            session.add(order)
            await session.flush()
            await posting.place_hold(
                session,
                order_id=order.id,
                book_id=self.world.platform.id,
                owner_id=order.from_id,
                currency=order.currency,
                amount_minor=amount_minor,
            )
            row = Redemption(
                order_id=order.id,
                price_minor=2 * amount_minor,
                currents_share_percent=100,
                is_master=is_master,
                usd_gross_minor=2 * amount_minor,
                usd_fee_minor=0,
                receipt_text="till",
            )
            session.add(row)

    async def decide(
        self, mutation: str, order_id: str, *, by: Person | None = None, **more: Any
    ) -> dict[str, Any]:
        """Approve or reject as the business's ADMIN, pay as the platform's; return the payload."""
        who = by or (self.world.admin if mutation == "payOrder" else self.mark)
        if mutation == "rejectOrder":
            more = {"reason": "no such sale"} | more
        return await self.world.mutate(mutation, ORDER, by=who, id=order_id, **more)

    async def balance(self, who: Collective | Person, currency: str) -> dict[str, str]:
        """Return posted, held, available and pending in major units, as the platform's ADMIN."""
        data = await self.world.query(BALANCE, by=self.world.admin, s=who.slug, c=currency)
        return {name: figure["value"] for name, figure in data["collective"]["balance"].items()}
