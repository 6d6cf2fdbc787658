"""Random operations over GraphQL against a few lines of Python that know what balances must be."""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import text

from models.enums import MemberRole
from tests.factories import World, money

STEPS = 40
PLATFORM_BPS = 300
FEE_BPS = {"wwcode": 500}
"""Fee of each host; other hosts take none."""
BOOKS = {"webpack": "opensource", "babel": "opensource", "berlin": "wwcode", "xdamman": "commonweal"}
COLLECTIVES = ("webpack", "babel", "berlin")
FIGURES = (
    "transactions { toCollectiveAmount { minorUnits } fromCollectiveAmount { minorUnits }"
    " hostFeeInHostCurrency { minorUnits } platformFeeInHostCurrency { minorUnits } }"
)
Account = tuple[str, str]


def bps(amount: int, points: int) -> int:
    """Return a fee, rounded half away from zero."""
    return (amount * points * 2 + 10_000) // 20_000


@dataclass
class Made:
    """An order as the model knows it."""

    id: str
    kind: str
    giver: str | None
    taker: str | None
    amount: int
    status: str
    into: str = ""
    left: int = 0
    effect: dict[Account, int] = field(default_factory=dict)
    """The part of its postings that is not refunded yet."""


@dataclass
class Model:
    """Balances and holds by book and owner, all in US cents."""

    posted: dict[Account, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[Account, int] = field(default_factory=lambda: defaultdict(int))
    orders: list[Made] = field(default_factory=list)

    def effect(self, giver: str | None, taker: str | None, amount: int, *, fee: bool = True) -> Any:
        """Return what a movement does to balances; None is outside."""
        change: dict[Account, int] = defaultdict(int)
        if giver:
            change[BOOKS[giver], giver] -= amount
        if taker:
            book = BOOKS[taker]
            platform = host = 0
            if giver is None or BOOKS[giver] != book:
                platform = bps(amount, PLATFORM_BPS)
                host = bps(amount, FEE_BPS.get(book, 0)) if fee else 0
            change[book, "commonweal"] += platform
            change[book, book] += host
            change[book, taker] += amount - platform - host
        return {account: value for account, value in change.items() if value}

    def fits(self, change: dict[Account, int]) -> bool:
        """True if every balance stays at or above its holds."""
        return all(
            value >= 0 or self.posted[account] + value >= self.held[account]
            for account, value in change.items()
        )

    def apply(self, change: dict[Account, int], *, sign: int = 1) -> None:
        """Apply the change."""
        for account, value in change.items():
            self.posted[account] += sign * value


@dataclass
class Play:
    """A run: the world, the model, and the dice."""

    world: World
    model: Model
    dice: random.Random
    holder: Any
    payee: Any

    async def mutate(self, mutation: str, *, by: Any = None, **arguments: Any) -> tuple[str, Any]:
        """Run a mutation; return the error's code or OK, and the payload."""
        fields = "order { id status }" + (FIGURES if mutation == "refundOrder" else "")
        payload = await self.world.mutate(mutation, fields, by=by or self.holder, **arguments)
        codes = [error["code"] for error in payload["errors"]]
        return (codes[0] if codes else "OK"), payload

    def cents(self) -> int:
        """Draw an amount; now and then a great one."""
        return self.dice.randint(100, self.dice.choice([500, 3000, 20_000]))

    async def move(self, mutation: str) -> None:
        """Donate, transfer or add funds."""
        model, amount = self.model, self.cents()
        takers = [*COLLECTIVES, "xdamman"] if mutation == "donate" else [*COLLECTIVES]
        giver = None if mutation == "addFunds" else self.dice.choice(COLLECTIVES)
        taker = self.dice.choice([name for name in takers if name != giver])
        change = model.effect(giver, taker, amount)
        arguments: dict[str, Any] = {"to": {"slug": taker}, "amount": money(_value(amount))}
        if giver:
            arguments["from"] = {"slug": giver}
        code, payload = await self.mutate(mutation, **arguments)
        assert code == ("OK" if model.fits(change) else "INSUFFICIENT_FUNDS")
        if code == "OK":
            model.apply(change)
            model.orders.append(
                Made(
                    payload["order"]["id"],
                    mutation,
                    giver,
                    taker,
                    amount,
                    "PAID",
                    left=amount,
                    effect=dict(change),
                )
            )

    async def submit(self) -> None:
        """Submit an expense of the payee, paid outside or into its balance."""
        giver, amount = self.dice.choice(COLLECTIVES), self.cents()
        into = self.dice.choice(["MANUAL", "BALANCE"])
        code, payload = await self.mutate(
            "submitExpense",
            by=self.payee,
            to={"slug": "xdamman"},
            amount=money(_value(amount)),
            payoutMethod=into,
            **{"from": {"slug": giver}},
        )
        assert code == "OK"
        taker = "xdamman" if into == "BALANCE" else None
        self.model.orders.append(
            Made(payload["order"]["id"], "expense", giver, taker, amount, "PENDING", into)
        )

    async def decide(self, mutation: str) -> None:
        """Approve, reject, pay or cancel any expense, whatever state it is in."""
        expenses = [created for created in self.model.orders if created.kind == "expense"]
        if not expenses:
            return
        created = self.dice.choice(expenses)
        expected = self._decided(mutation, created)
        arguments = {"reason": "because"} if mutation == "rejectOrder" else {}
        by = self.payee if mutation == "cancelOrder" else self.holder
        code, payload = await self.mutate(mutation, by=by, id=created.id, **arguments)
        assert code == expected, (mutation, created)
        if code == "OK":
            assert payload["order"]["status"] == created.status

    def _decided(self, mutation: str, made: Made) -> str:
        model, account = self.model, (BOOKS[made.giver or ""], made.giver or "")
        allowed = {"approveOrder": ["PENDING"], "payOrder": ["APPROVED"]}
        if made.status not in allowed.get(mutation, ["PENDING", "APPROVED"]):
            return "INVALID_STATE"
        if mutation in {"rejectOrder", "cancelOrder"}:
            if made.status == "APPROVED":
                model.held[account] -= made.amount
            made.status = "REJECTED" if mutation == "rejectOrder" else "CANCELLED"
            return "OK"
        if mutation == "approveOrder" and made.into == "MANUAL":
            if model.posted[account] - model.held[account] < made.amount:
                return "INSUFFICIENT_FUNDS"
            model.held[account] += made.amount
            made.status = "APPROVED"
            return "OK"
        change = model.effect(made.giver, made.taker, made.amount)
        if mutation == "payOrder":
            model.held[account] -= made.amount
        elif not model.fits(change):
            return "INSUFFICIENT_FUNDS"
        model.apply(change)
        made.status, made.left, made.effect = "PAID", made.amount, dict(change)
        return "OK"

    async def refund(self) -> None:
        """Refund any order, in part or the rest; the last part takes exactly what is left."""
        if not self.model.orders:
            return
        created = self.dice.choice(self.model.orders)
        part = self.dice.choice([None, self.dice.randint(1, created.amount)])
        arguments = {} if part is None else {"amount": money(_value(part))}
        code, payload = await self.mutate("refundOrder", id=created.id, **arguments)
        if created.status != "PAID":
            assert code == "INVALID_STATE"
        elif part is not None and part > created.left:
            assert code == "INVALID_INPUT"
        else:
            taken = created.left if part is None else part
            self._refunded(created, taken, code, payload)

    def _refunded(self, made: Made, taken: int, code: str, payload: Any) -> None:
        rest = taken == made.left
        if rest or BOOKS.get(made.giver or "") == BOOKS.get(made.taker or ""):
            change = made.effect if rest else self.model.effect(made.giver, made.taker, taken)
            fits = self.model.fits({account: -value for account, value in change.items()})
            assert code == ("OK" if fits else "INSUFFICIENT_FUNDS"), (made, taken)
        if code != "OK":
            assert code == "INSUFFICIENT_FUNDS"
            return
        change = _returned(made, payload)
        self.model.apply(change, sign=-1)
        made.left -= taken
        made.effect = {
            account: left
            for account, value in made.effect.items()
            if (left := value - change.get(account, 0))
        }
        assert all(abs(change[account]) <= taken for account in change)
        if rest:
            assert made.effect == {}
            made.status = "REFUNDED"
        assert payload["order"]["status"] == made.status

    async def check(self) -> None:
        """Assert that every balance and hold in the database is the model's."""
        async with self.world.sessions() as session:
            rows = await session.execute(
                text(
                    "SELECT b.slug, o.slug, a.posted, a.held FROM ledger_account a"
                    " JOIN collective b ON b.id = a.book_id JOIN collective o ON o.id = a.owner_id"
                    " WHERE a.kind = 'BALANCE' AND (a.posted <> 0 OR a.held <> 0)"
                )
            )
            results = {(book, owner): (posted, held) for book, owner, posted, held in rows}
        model = self.model
        assert results == {
            account: (model.posted[account], model.held[account])
            for account in {*model.posted, *model.held}
            if model.posted[account] or model.held[account]
        }
        assert all(0 <= held <= posted for posted, held in results.values())


def _value(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _returned(made: Made, payload: Any) -> dict[Account, int]:
    """Return what a refund's own figures say that it took back, as a change of balances."""
    (line,) = payload["transactions"]

    def of(name: str) -> int:
        return int((line[name] or {"minorUnits": 0})["minorUnits"])

    change: dict[Account, int] = defaultdict(int)
    if made.giver:
        change[BOOKS[made.giver], made.giver] -= of("fromCollectiveAmount")
    if made.taker:
        book = BOOKS[made.taker]
        change[book, made.taker] -= of("toCollectiveAmount")
        change[book, book] -= of("hostFeeInHostCurrency")
        change[book, "commonweal"] -= of("platformFeeInHostCurrency")
    return {account: value for account, value in change.items() if value}


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_balances_equal_those_of_the_model(world: World, seed: int) -> None:
    holder, payee = await world.person("holder"), await world.person("xdamman")
    opensource = await world.host("opensource", holder)
    wwcode = await world.host("wwcode", holder, fee_bps=FEE_BPS["wwcode"])
    await world.member(world.platform, holder, MemberRole.ADMIN)
    for slug, host in (("webpack", opensource), ("babel", opensource), ("berlin", wwcode)):
        await world.community(slug, host, holder)
    await world.platform_fee(PLATFORM_BPS)
    play = Play(world, Model(), random.Random(seed), holder, payee)

    for _ in range(STEPS):
        step = play.dice.choice(
            [
                "addFunds",
                "donate",
                "donate",
                "transferFunds",
                "submit",
                "submit",
                "approveOrder",
                "approveOrder",
                "approveOrder",
                "payOrder",
                "payOrder",
                "rejectOrder",
                "cancelOrder",
                "refund",
                "refund",
                "refund",
            ]
        )
        if step in {"addFunds", "donate", "transferFunds"}:
            await play.move(step)
        elif step == "submit":
            await play.submit()
        elif step == "refund":
            await play.refund()
        else:
            await play.decide(step)
        await play.check()

    await world.assert_clean_ledger()
