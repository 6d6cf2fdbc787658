"""A small world of money that the ledger's tests share: a host, two collectives, a payee outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models import new_id
from services.core import public_ids
from tests.factories import Person, World, money, of

if TYPE_CHECKING:
    from uuid import UUID

    from models import Collective

ORDER = "order { id status amount { minorUnits } approvedAmount { minorUnits } }"
KINDS = "transactions { id kind amount { minorUnits } }"


@dataclass
class Scene:
    """webpack and babel at the host opensource, all in USD; xdamman is paid outside."""

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
    """What slugs end with, where several scenes share a database."""

    @classmethod
    async def create(cls, world: World, *, funds: str = "100.00", suffix: str = "") -> Scene:
        """Make the people and collectives; webpack has funds."""
        holder, giver = await world.person("holder" + suffix), await world.person("giver" + suffix)
        friend, payee = await world.person("friend" + suffix), await world.person("xdamman" + suffix)
        host = await world.host("opensource" + suffix, holder)
        webpack = await world.community("webpack" + suffix, host, giver)
        babel = await world.community("babel" + suffix, host, friend)
        if funds:
            await world.fund(webpack, funds, by=holder)
        return cls(world, holder, giver, friend, payee, host, webpack, babel, suffix)

    @classmethod
    async def among_others(cls, world: World) -> Scene:
        """Make a scene in a world that has others: a database of its own costs most of a second."""
        return await cls.create(world, suffix=f"-{new_id().hex[-12:]}")

    async def host_of(self, slug: str, **given: Any) -> Collective:
        """Make another host of the holder's."""
        return await self.world.host(slug + self.suffix, self.holder, **given)

    async def community(
        self, slug: str, host: Collective | None, admin: Person | None = None, **given: Any
    ) -> Collective:
        """Make another collective."""
        return await self.world.community(slug + self.suffix, host, admin, **given)

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
        """Give from webpack to babel, if nobody else is named; return the payload."""
        more |= {"from": of(from_ or self.webpack), "to": of(to or self.babel)}
        return await self.world.do(
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
        """Move from webpack to babel, if nobody else is named; return the payload."""
        more |= {"from": of(from_ or self.webpack), "to": of(to or self.babel)}
        return await self.world.do(
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
        """Let xdamman submit an expense to webpack, if nobody else is named; return the order's id."""
        more |= {"from": of(from_ or self.webpack), "to": of(to or self.payee)}
        return done(
            await self.world.do(
                "submitExpense", ORDER, by=by or self.payee, amount=money(value, currency), **more
            )
        )

    async def approve(self, order_id: str, *, by: Person | None = None, **more: Any) -> dict[str, Any]:
        """Approve as webpack's ADMIN; return the payload."""
        return await self.world.do("approveOrder", ORDER, by=by or self.giver, id=order_id, **more)

    async def reject(self, order_id: str, *, by: Person | None = None, reason: str = "no") -> dict[str, Any]:
        """Reject as webpack's ADMIN; return the payload."""
        return await self.world.do("rejectOrder", ORDER, by=by or self.giver, id=order_id, reason=reason)

    async def cancel(self, order_id: str, *, by: Person | None = None) -> dict[str, Any]:
        """Withdraw as the payee; return the payload."""
        return await self.world.do("cancelOrder", ORDER, by=by or self.payee, id=order_id)

    async def pay(self, order_id: str, *, by: Person | None = None, **more: Any) -> dict[str, Any]:
        """Pay as the host's ADMIN; return the payload."""
        return await self.world.do("payOrder", ORDER, by=by or self.holder, id=order_id, **more)

    async def refund(
        self,
        order_id: str,
        value: str | None = None,
        *,
        by: Person | None = None,
        currency: str = "USD",
        **more: Any,
    ) -> dict[str, Any]:
        """Refund as the host's ADMIN: a part, or the rest; return the payload."""
        if value is not None:
            more["amount"] = money(value, currency)
        return await self.world.do(
            "refundOrder", f"{ORDER} {KINDS}", by=by or self.holder, id=order_id, **more
        )

    async def method(self, *, bps: int = 0, fixed: str = "", host: Collective | None = None) -> str:
        """Make a payment method that settles from a balance and costs a fee; return its id."""
        where = host or self.host
        made = await self.world.do(
            "createPaymentMethod",
            "paymentMethod { id }",
            by=self.holder,
            host=of(where),
            name="Card",
            type="BALANCE",
            feeBps=bps,
            **({"feeFixed": money(fixed, where.currency)} if fixed else {}),
        )
        assert made["errors"] == [], made
        method_id: str = made["paymentMethod"]["id"]
        return method_id


def done(payload: dict[str, Any]) -> str:
    """Return the order's id of a payload without errors."""
    assert payload["errors"] == [], payload
    order_id: str = payload["order"]["id"]
    return order_id


def status(payload: dict[str, Any]) -> str:
    """Return the order's status of a payload without errors."""
    assert payload["errors"] == [], payload
    found: str = payload["order"]["status"]
    return found


def code(payload: dict[str, Any]) -> str | None:
    """Return the code of the payload's only error, or None where there is none."""
    codes: list[str] = [error["code"] for error in payload["errors"]]
    assert len(codes) <= 1, payload
    return codes[0] if codes else None


def row_id(public_id: str) -> UUID:
    """Return the row's id of an order's public id."""
    return public_ids.decode("Order", public_id, path=[])
