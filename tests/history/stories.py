"""Orders as their clients asked for them, and what each should have posted."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any
from uuid import UUID

from tests.history.arithmetic import (
    EXPONENT,
    Fees,
    Movement,
    Side,
    applicable,
    bps_of,
    convert,
    half_away,
    movement,
    plain_movement,
)
from tests.history.calls import Call
from tests.history.scene import DOLLARS_PER_CURRENT, REDEMPTION_FEE_BPS, HistoryScene, rate

TYPES = {
    "addFunds": "ADDED_FUNDS",
    "donate": "DONATION",
    "transferFunds": "TRANSFER",
    "submitExpense": "EXPENSE",
    "logHours": "HOURS",
    "redeemOffer": "REDEMPTION",
    "cashOut": "CASH_OUT",
    "settleHosts": "SETTLEMENT",
}
"""Type of the order that each mutation makes."""
DECISIONS = {
    "approveOrder": "APPROVE",
    "payOrder": "PAY",
    "rejectOrder": "REJECT",
    "cancelOrder": "CANCEL",
    "refundOrder": "REFUND",
}
PAID_AT_ONCE = {"ADDED_FUNDS", "TRANSFER"}
PAID_BY_APPROVAL = {"HOURS", "SETTLEMENT"}
HELD_FROM_START = {"REDEMPTION", "CASH_OUT"}


@dataclass
class Story:
    """An order as its client asked for it, and every acknowledged step."""

    id: UUID
    type: str
    made: Call
    steps: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))

    @property
    def asked(self) -> dict[str, Any]:
        """The input of the mutation that made the order."""
        return self.made.arguments

    @property
    def is_paid_at_once(self) -> bool:
        """True if making it paid it."""
        return self.type in PAID_AT_ONCE or (
            self.type == "DONATION" and self.asked["paymentMethod"] != "MANUAL"
        )

    @property
    def is_paid(self) -> bool:
        """True if it was paid."""
        approved = bool(self.steps["APPROVE"])
        by_approval = self.type in PAID_BY_APPROVAL | {"DONATION"} or (
            self.type == "EXPENSE" and self.asked["payoutMethod"] == "BALANCE"
        )
        return self.is_paid_at_once or bool(self.steps["PAY"]) or (approved and by_approval)

    def status(self, *, refunded_whole: bool) -> str:
        """Return the state that the steps lead to."""
        if refunded_whole:
            return "REFUNDED"
        if self.is_paid:
            return "PAID"
        ends = {"REJECT": "REJECTED", "CANCEL": "CANCELLED", "APPROVE": "APPROVED"}
        return next((ends[step] for step in ends if self.steps[step]), "PENDING")

    @property
    def expected_steps(self) -> Counter[str]:
        """Number of steps of each kind in its history."""
        steps = Counter({step: len(calls) for step, calls in self.steps.items() if calls})
        steps["CREATE"] = 1
        if self.is_paid and not self.steps["PAY"]:
            steps["PAY"] = 1
        return steps


def asked_minor(story: Story, row: dict[str, Any], scene: HistoryScene) -> int:
    """Return the amount that the order should have, in minor units."""
    asked = story.asked
    if story.type == "HOURS":
        return half_away(Fraction(row["seconds"]) * 1000 / 3600)
    if story.type != "REDEMPTION":
        return minor(asked["amount"])
    if (story.made.result or {})["caps"]:  # cut to the balance of that moment, which the order alone tells
        return int(row["amount"])
    return convert(_price_minor(story, scene), Fraction(1, DOLLARS_PER_CURRENT), "USD", "CUR")


def _price_minor(story: Story, scene: HistoryScene) -> int:
    return bps_of(minor(story.asked["price"]), scene.offers[story.asked["offer"]] * 100)


def movements(story: Story, amount_minor: int, scene: HistoryScene) -> list[Movement]:
    """Return what the order should have posted, refunds aside; the amount is the approved one."""
    who = next(slug for slug, token in scene.tokens.items() if token == story.made.token)
    if story.type == "REDEMPTION":
        return _redemption(story, amount_minor, who, scene)
    if not story.is_paid:
        return []
    if story.type == "HOURS":
        issuer = replace(scene.side(who, "CUR"), slug="greatdeeds")
        return [plain_movement("HOURS", amount_minor, "CUR", issuer, scene.side(who, "CUR"))]
    currency = story.asked["amount"]["currency"]
    if story.type == "CASH_OUT":
        user = scene.side(who, currency)
        return [plain_movement("CASH_OUT", amount_minor, currency, user, _outside(user))]
    if story.type == "SETTLEMENT":
        return [_settlement(story.asked, amount_minor, scene)]
    return [_money(story, amount_minor, currency, scene)]


def _money(story: Story, amount_minor: int, currency: str, scene: HistoryScene) -> Movement:
    asked = story.asked
    method, payee = asked.get("paymentMethod", ""), scene.side(asked["to"]["slug"], currency)
    payer = scene.side(asked["from"]["slug"], currency) if "from" in asked else Side("", currency)
    if method == "MANUAL":
        payer = _outside(payer)
    fees = scene.fees(payee, card=method if method in scene.cards else "", host_bps=asked.get("hostFeeBps"))
    if asked.get("payoutMethod") == "MANUAL":
        payee, paid = _outside(payee), story.steps["PAY"][0].arguments
        fee_minor = minor(paid["processorFee"]) if "processorFee" in paid else 0
        fees = Fees(payout=fee_minor, payer_bears_payout=asked["feesPayer"] == "PAYER")
    needed = {payer.currency, payer.host_currency, payee.host_currency, currency} - {""}
    rates = {code: rate(currency, code) for code in needed}
    taken = applicable(fees, payer, payee, platform=scene.platform)
    return movement(story.type, amount_minor, currency, (payer, payee), taken, rates)


def _outside(side: Side) -> Side:
    return replace(side, host="", host_currency="")


def _settlement(asked: dict[str, Any], amount_minor: int, scene: HistoryScene) -> Movement:
    currency = asked["amount"]["currency"]
    debtor, creditor = (scene.side(asked[end]["slug"], currency) for end in ("from", "to"))
    move = plain_movement("SETTLEMENT", amount_minor, currency, Side("", currency), creditor)
    move.payer = debtor
    move.figures["from_host_amount"] = move.figures["from_collective_amount"] = -minor(asked["paid"])
    return move


def _redemption(story: Story, amount_minor: int, who: str, scene: HistoryScene) -> list[Movement]:
    moves: list[Movement] = []
    if story.steps["APPROVE"]:
        sides = scene.side(who, "CUR"), scene.side("cafe", "CUR")
        moves.append(plain_movement("REDEMPTION", amount_minor, "CUR", *sides))
    if story.steps["PAY"]:
        gross_minor = _price_minor(story, scene)
        if (story.made.result or {})["caps"]:
            gross_minor = convert(amount_minor, Fraction(DOLLARS_PER_CURRENT), "CUR", "USD")
        fee_minor = bps_of(gross_minor, REDEMPTION_FEE_BPS)
        sides = scene.side(scene.platform, "USD"), scene.side(who, "USD")
        move = plain_movement("REDEMPTION_PAYOUT", gross_minor, "USD", *sides)
        net_minor = gross_minor - fee_minor
        move.figures |= {
            "platform_fee": fee_minor,
            "to_host_amount": net_minor,
            "to_collective_amount": net_minor,
        }
        moves.append(move)
    return moves


def minor(amount: dict[str, str]) -> int:
    """Return an AmountInput in minor units."""
    return int(Fraction(amount["value"]) * 10 ** EXPONENT[amount["currency"]])
