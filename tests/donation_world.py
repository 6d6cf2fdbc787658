"""A host, two of its collectives and a payee outside, for tests that move money."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models import Collective, new_id
from services.core import public_ids
from tests.factories import Person, World, money, ref

ORDER = "order { id status amount { minorUnits } approvedAmount { minorUnits } }"
KINDS = "transactions { id kind amount { minorUnits } }"


@dataclass
class DonationScene:
    """webpack and babel at the host opensource, all in USD; xdamman is paid outside the host."""

    world: World
    holder: Person
    """ADMIN of every host."""
    giver: Person
    """ADMIN of webpack."""
    friend: Person
    """ADMIN of babel."""
    payee: Person
    host: Collective
    webpack: Collective
    babel: Collective
    suffix: str = ""
    """Suffix of every slug, for scenes that share a database."""

    @classmethod
    async def create(cls, world: World, *, funds: str = "100.00", suffix: str = "") -> "DonationScene":
        """Create the people and collectives, and fund webpack."""
        holder, giver = await world.person("holder" + suffix), await world.person("giver" + suffix)
        friend, payee = await world.person("friend" + suffix), await world.person("xdamman" + suffix)
        host = await world.host("opensource" + suffix, holder)
        webpack = await world.community("webpack" + suffix, host, giver)
        babel = await world.community("babel" + suffix, host, friend)
        if funds:
            await world.fund(webpack, funds, by=holder)
        return cls(world, holder, giver, friend, payee, host, webpack, babel, suffix)

    @classmethod
    async def among_others(cls, world: World) -> "DonationScene":
        """Create a scene in a shared world; a database of its own takes most of a second."""
        return await cls.create(world, suffix=f"-{new_id().hex[-12:]}")

    async def host_of(self, slug: str, **arguments: Any) -> Collective:
        """Create another host with the holder as ADMIN."""
        return await self.world.host(slug + self.suffix, self.holder, **arguments)

    async def community(
        self, slug: str, host: Collective | None, admin: Person | None = None, **arguments: Any
    ) -> Collective:
        """Create another collective."""
        return await self.world.community(slug + self.suffix, host, admin, **arguments)

    async def donate(
        self,
        value: str,
        *,
        by: Person | None = None,
        from_: Collective | Person | None = None,
        to: Collective | Person | None = None,
        currency: str = "USD",
        **more: Any,
    ) -> dict[str, Any]:
        """Donate from webpack to babel by default; return the payload."""
        more |= {"from": ref(from_ or self.webpack), "to": ref(to or self.babel)}
        return await self.world.mutate(
            "donate", ORDER, by=by or self.giver, amount=money(value, currency), **more
        )

    async def transfer(
        self,
        value: str,
        *,
        by: Person | None = None,
        from_: Collective | None = None,
        to: Collective | None = None,
        currency: str = "USD",
        **more: Any,
    ) -> dict[str, Any]:
        """Transfer from webpack to babel by default; return the payload."""
        more |= {"from": ref(from_ or self.webpack), "to": ref(to or self.babel)}
        return await self.world.mutate(
            "transferFunds", ORDER, by=by or self.giver, amount=money(value, currency), **more
        )

    async def expense(
        self,
        value: str,
        *,
        by: Person | None = None,
        from_: Collective | None = None,
        to: Collective | Person | None = None,
        currency: str = "USD",
        **more: Any,
    ) -> str:
        """Submit an expense of xdamman to webpack by default; return the order's id."""
        more |= {"from": ref(from_ or self.webpack), "to": ref(to or self.payee)}
        return expect_order(
            await self.world.mutate(
                "submitExpense", ORDER, by=by or self.payee, amount=money(value, currency), **more
            )
        )

    async def approve(self, order_id: str, *, by: Person | None = None, **more: Any) -> dict[str, Any]:
        """Approve as webpack's ADMIN; return the payload."""
        return await self.world.mutate("approveOrder", ORDER, by=by or self.giver, id=order_id, **more)

    async def reject(self, order_id: str, *, by: Person | None = None, reason: str = "no") -> dict[str, Any]:
        """Reject as webpack's ADMIN; return the payload."""
        return await self.world.mutate("rejectOrder", ORDER, by=by or self.giver, id=order_id, reason=reason)

    async def cancel(self, order_id: str, *, by: Person | None = None) -> dict[str, Any]:
        """Cancel as the payee; return the payload."""
        return await self.world.mutate("cancelOrder", ORDER, by=by or self.payee, id=order_id)

    async def pay(self, order_id: str, *, by: Person | None = None, **more: Any) -> dict[str, Any]:
        """Pay as the host's ADMIN; return the payload."""
        return await self.world.mutate("payOrder", ORDER, by=by or self.holder, id=order_id, **more)

    async def refund(
        self,
        order_id: str,
        value: str | None = None,
        *,
        by: Person | None = None,
        currency: str = "USD",
        **more: Any,
    ) -> dict[str, Any]:
        """Refund a part or the rest as the host's ADMIN; return the payload."""
        if value is not None:
            more["amount"] = money(value, currency)
        return await self.world.mutate(
            "refundOrder", f"{ORDER} {KINDS}", by=by or self.holder, id=order_id, **more
        )

    async def method(self, *, bps: int = 0, fixed: str = "", host: Collective | None = None) -> str:
        """Create a payment method with a fee that pays from a balance; return its id."""
        host = host or self.host
        payload = await self.world.mutate(
            "createPaymentMethod",
            "paymentMethod { id }",
            by=self.holder,
            host=ref(host),
            name="Card",
            type="BALANCE",
            feeBps=bps,
            **({"feeFixed": money(fixed, host.currency)} if fixed else {}),
        )
        assert payload["errors"] == [], payload
        method_id: str = payload["paymentMethod"]["id"]
        return method_id


def expect_order(payload: dict[str, Any]) -> str:
    """Require a payload without errors; return its order's id."""
    assert payload["errors"] == [], payload
    order_id: str = payload["order"]["id"]
    return order_id


def expect_status(payload: dict[str, Any]) -> str:
    """Require a payload without errors; return its order's status."""
    assert payload["errors"] == [], payload
    status: str = payload["order"]["status"]
    return status


def error_code(payload: dict[str, Any]) -> str | None:
    """Return the code of a payload's only error, or None if it has none."""
    codes: list[str] = [error["code"] for error in payload["errors"]]
    assert len(codes) <= 1, payload
    return codes[0] if codes else None


def decode_order_id(public_id: str) -> UUID:
    """Decode an order's public id."""
    return public_ids.decode("Order", public_id, field="id")
