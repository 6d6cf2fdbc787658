"""Eight clients that mutate money and time at random."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Any

from models import now
from tests.factories import money
from tests.history.arithmetic import EXPONENT
from tests.history.calls import ApiClient, Call
from tests.history.first_steps import take_first_steps
from tests.history.scene import COLLECTIVES, HOSTS, HistoryScene

CLIENTS = 8
DECIDERS = {
    "EXPENSE": ("giver", "holder"),
    "HOURS": ("chris", ""),
    "REDEMPTION": ("mark", "admin"),
    "CASH_OUT": ("admin", "eve"),
    "SETTLEMENT": ("rita", ""),
    "MANUAL": ("holder", ""),
}
"""Who approves and who pays an order, by its type; MANUAL is a donation by bank transfer."""
REFUNDERS = {
    "DONATION": "holder",
    "MANUAL": "holder",
    "ADDED_FUNDS": "holder",
    "EXPENSE": "holder",
    "TRANSFER": "holder",
    "HOURS": "chris",
    "REDEMPTION": "mark",
}
USERS = ("john", "kim", "lee")


@dataclass
class Made:
    """An order that the workload made."""

    id: str
    type: str
    currency: str
    amount_minor: int
    by: str


@dataclass
class Workload:
    """The clients' common state; `random` alone decides what is asked."""

    scene: HistoryScene
    api: ApiClient
    random: random.Random
    orders: list[Made] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    slots: dict[str, int] = field(default_factory=dict)
    """Hours that each user has reported."""
    has_begun: bool = False
    """True after the first funds and steps, which are no dry runs."""

    async def run(self, seconds: float) -> None:
        """Run all clients for a while."""
        await self._add_first_funds()
        await take_first_steps(self)
        self.has_begun = True
        deadline = time.monotonic() + seconds
        await asyncio.gather(*(self._client(deadline) for _ in range(CLIENTS)))

    async def _add_first_funds(self) -> None:
        for slug, (_, currency) in COLLECTIVES.items():
            await self._add_funds(slug, currency, 300_000)
        for slug, (currency, _) in HOSTS.items():
            await self._add_funds(slug, currency, 50_000)
        await self._add_funds(self.scene.platform, "USD", 500_000)

    async def _client(self, deadline: float) -> None:
        steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (3, self._add_any_funds),
            (6, self._donate),
            (4, self._transfer),
            (4, self._submit_expense),
            (3, self._log_hours),
            (3, self._redeem),
            (1, self._cash_out),
            (1, self._settle),
            (14, self._decide),
            (4, self._refund),
        ]
        while time.monotonic() < deadline:
            step = self.random.choices([one for _, one in steps], [weight for weight, _ in steps])[0]
            await step()

    async def call(self, mutation: str, who: str, fields: str = "order { id }", **arguments: Any) -> Call:
        """Send a mutation under a new key; at times twice at once, or as a dry run."""
        arguments["idempotencyKey"] = f"k{next(self.numbers)}"
        copies = 2 if self.random.random() < 0.2 else 1
        if copies == 1 and self.has_begun and self.random.random() < 0.02:
            arguments["dryRun"] = True
        call = Call(mutation, self.scene.tokens[who], arguments, fields)
        await self.api.settle(call, copies=copies)
        return call

    async def make(self, kind: str, who: str, mutation: str, size: tuple[int, str], **more: Any) -> Call:
        """Send a mutation that makes an order, and keep the order for later decisions."""
        amount_minor, currency = size
        fields = "order { id } caps" if mutation == "redeemOffer" else "order { id }"
        call = await self.call(mutation, who, fields, **more)
        if call.result and not call.arguments.get("dryRun"):
            self.orders.append(Made(call.result["order"]["id"], kind, currency, amount_minor, who))
        return call

    def _amount(self, currency: str, most: int = 40_000) -> tuple[int, dict[str, str]]:
        amount_minor = int(most ** self.random.random()) + self.random.randrange(60)
        return amount_minor, as_input(amount_minor, currency)

    async def _add_any_funds(self) -> None:
        slug = self.random.choice(list(COLLECTIVES))
        currency = COLLECTIVES[slug][1]
        bps = self.random.choice([None, 0, 725])
        await self._add_funds(slug, currency, self._amount(currency)[0], bps)

    async def _add_funds(self, slug: str, currency: str, amount_minor: int, bps: int | None = 0) -> None:
        more = {} if bps is None else {"hostFeeBps": bps}
        who = "admin" if slug == self.scene.platform else "holder"
        await self.make(
            "ADDED_FUNDS",
            who,
            "addFunds",
            (amount_minor, currency),
            to={"slug": slug},
            amount=as_input(amount_minor, currency),
            **more,
        )

    def _pair(self) -> tuple[str, str]:
        payer, payee = self.random.sample(list(COLLECTIVES), 2)
        return payer, payee

    async def _donate(self) -> None:
        payer, payee = self._pair()
        host, currency = COLLECTIVES[payee]
        amount_minor, amount = self._amount(currency)
        card = next(method for method, slug in self.scene.cards.items() if slug == host)
        method = self.random.choice([card, card, "BALANCE", "MANUAL"])
        await self.make(
            "MANUAL" if method == "MANUAL" else "DONATION",
            "giver",
            "donate",
            (amount_minor, currency),
            **{"from": {"slug": payer}},
            to={"slug": payee},
            amount=amount,
            paymentMethod=method,
        )

    async def _transfer(self) -> None:
        payer, payee = self._pair()
        currency = COLLECTIVES[payee][1]
        amount_minor, amount = self._amount(currency)
        await self.make(
            "TRANSFER",
            "giver",
            "transferFunds",
            (amount_minor, currency),
            **{"from": {"slug": payer}},
            to={"slug": payee},
            amount=amount,
        )

    async def _submit_expense(self) -> None:
        payer, payee = self.random.choice(list(COLLECTIVES)), self.random.choice(USERS)
        host, own = COLLECTIVES[payer]
        currency = self.random.choice(["USD", own, HOSTS[host][0]])
        amount_minor, amount = self._amount(currency, 15_000)
        await self.make(
            "EXPENSE",
            payee,
            "submitExpense",
            (amount_minor, currency),
            **{"from": {"slug": payer}},
            to={"slug": payee},
            amount=amount,
            payoutMethod=self.random.choice(["BALANCE", "MANUAL", "MANUAL"]),
            feesPayer=self.random.choice(["PAYER", "PAYEE"]),
        )

    async def _log_hours(self) -> None:
        await self.log_hours(self.random.choice(USERS))

    async def log_hours(self, who: str) -> None:
        """Report a time that the user has not reported yet."""
        slot = self.slots[who] = self.slots.get(who, -1) + 1
        if slot >= 12 * 24:
            return
        day = now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        starts_at = day - timedelta(days=1 + slot // 24) + timedelta(hours=slot % 24)
        seconds = self.random.randrange(900, 3600)
        await self.make(
            "HOURS",
            who,
            "logHours",
            (seconds, "CUR"),
            nonprofit={"slug": "greatdeeds"},
            startsAt=starts_at.isoformat(),
            endsAt=(starts_at + timedelta(seconds=seconds)).isoformat(),
        )

    async def _redeem(self) -> None:
        amount_minor, price = self._amount("USD", 5_000)
        await self.make(
            "REDEMPTION",
            self.random.choice(USERS),
            "redeemOffer",
            (amount_minor, "CUR"),
            offer=self.random.choice(list(self.scene.offers)),
            price=price,
            receipt="Table 4",
        )

    async def _cash_out(self) -> None:
        amount_minor, amount = self._amount("USD", 3_000)
        who = self.random.choice(USERS)
        await self.make("CASH_OUT", who, "cashOut", (amount_minor, "USD"), amount=amount)

    async def _settle(self) -> None:
        debtor, creditor = self.random.sample(list(HOSTS), 2)
        currency, own = HOSTS[creditor][0], HOSTS[debtor][0]
        amount_minor, amount = self._amount(currency, 30_000)
        await self.make(
            "SETTLEMENT",
            "holder",
            "settleHosts",
            (amount_minor, currency),
            **{"from": {"slug": debtor}},
            to={"slug": creditor},
            amount=amount,
            paid=self._amount(own, 30_000)[1],
            reference="BANK-1",
        )

    async def _decide(self) -> None:
        open_types = [order for order in self.orders[-80:] if order.type in DECIDERS]
        if not open_types:
            return
        order = self.random.choice(open_types)
        approver, payer = DECIDERS[order.type]
        choice = self.random.random()
        if choice < 0.55 or (choice < 0.85 and not payer):
            await self._approve(order, approver)
        elif choice < 0.85:
            fee = self.random.choice([None, 0, 25]) if order.type == "EXPENSE" else None
            more: dict[str, Any] = (
                {} if fee is None else {"processorFee": as_input(fee, self._fee_currency(order))}
            )
            await self.call("payOrder", payer, id=order.id, **more)
        elif choice < 0.93:
            await self.call("rejectOrder", approver, id=order.id, reason="no")
        else:
            await self.call("cancelOrder", order.by, id=order.id)

    def _fee_currency(self, order: Made) -> str:
        made = (one for one in self.api.calls if one.result and one.result["order"]["id"] == order.id)
        payer: str = next(made).arguments["from"]["slug"]
        return HOSTS[COLLECTIVES[payer][0]][0]

    async def _approve(self, order: Made, approver: str) -> None:
        more: dict[str, Any] = {}
        if order.type in {"EXPENSE", "HOURS"} and self.random.random() < 0.3:
            most = order.amount_minor if order.type == "EXPENSE" else 250
            less = self.random.randint(1, max(1, most))
            more = {"amount": as_input(less, order.currency), "reason": "as agreed"}
        await self.call("approveOrder", approver, id=order.id, **more)

    async def _refund(self) -> None:
        order = self.random.choice(self.orders)
        if order.type not in REFUNDERS:
            return
        more = {}
        if self.random.random() < 0.7:
            part_minor = self.random.randint(1, max(1, order.amount_minor))
            more = {"amount": as_input(part_minor, order.currency)}
        await self.call(
            "refundOrder", REFUNDERS[order.type], "order { id } transactions { id }", id=order.id, **more
        )


def as_input(amount_minor: int, currency: str) -> dict[str, str]:
    """Return an AmountInput of minor units."""
    digits = EXPONENT[currency]
    whole, rest = divmod(amount_minor, 10**digits)
    return money(f"{whole}.{rest:0{digits}}" if digits else str(whole), currency)
