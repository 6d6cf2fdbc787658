"""The history computed again from what clients were told, and compared with the database."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from services.core import public_ids
from tests.history.arithmetic import FIGURES, Key, Movement, convert, legs, plain_movement, refund_part
from tests.history.calls import Call
from tests.history.records import Records
from tests.history.scene import CLEARING_LIMIT, HistoryScene, rate
from tests.history.stories import DECISIONS, TYPES, Story, asked_minor, minor, movements

HELD_FROM_START = {"REDEMPTION", "CASH_OUT"}


@dataclass
class Replay:
    """Compares; `differences` has a line for each figure that is not as computed."""

    scene: HistoryScene
    records: Records
    differences: list[str] = field(default_factory=list)
    expected: Counter[Key] = field(default_factory=Counter)
    """Balance of each account."""
    held: Counter[Key] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    seen: set[UUID] = field(default_factory=set)
    """Transactions that a story explains."""

    def compare(self, calls: list[Call]) -> None:
        """Compare every order, transaction, account and hold."""
        stories = self._tell(calls)
        self._same("orders", set(stories), set(self.records.orders))
        for story in stories.values():
            if story.id in self.records.orders:
                self._compare_order(story)
        self._same("transactions", self.seen, set(self.records.transactions))
        self._compare_accounts()

    def _same(self, what: str, expected: Any, found: Any) -> None:
        self.compared[what.split(" ", maxsplit=1)[0]] += 1
        if expected != found:
            self.differences.append(f"{what}: computed {expected}, found {found}")

    def _tell(self, calls: list[Call]) -> dict[UUID, Story]:
        stories: dict[UUID, Story] = {}
        acknowledged = [call for call in calls if call.result and not call.arguments.get("dryRun")]
        for call in acknowledged:
            if call.mutation in TYPES:
                order_id = _order_id(call)
                assert order_id not in stories, call
                stories[order_id] = Story(order_id, TYPES[call.mutation], call)
        for call in acknowledged:
            if call.mutation in DECISIONS:
                stories[_order_id(call)].steps[DECISIONS[call.mutation]].append(call)
        return stories

    def _compare_order(self, story: Story) -> None:
        row, name = self.records.orders[story.id], f"{story.type} {story.id}"
        self._same(f"type {name}", story.type, row["type"])
        self._same(f"amount {name}", asked_minor(story, row, self.scene), row["amount"])
        for step, calls in story.steps.items():
            if step != "REFUND" and calls:
                self._same(f"steps {name} {step}", 1, len(calls))
        self._same(f"steps {name}", story.expected_steps, Counter(self.records.steps[story.id]))
        left = self._compare_transactions(story)
        self._same(f"status {name}", story.status(refunded_whole=left == 0), row["status"])
        self._compare_hold(story)

    def _approved(self, story: Story) -> int:
        for call in story.steps["APPROVE"]:
            if "amount" in call.arguments:
                return minor(call.arguments["amount"])
        return asked_minor(story, self.records.orders[story.id], self.scene)

    def _compare_transactions(self, story: Story) -> int:
        """Compare what an order posted; return what is not refunded, in minor units."""
        rows = self.records.by_order[story.id]
        moves = movements(story, self._approved(story), self.scene)
        originals = {row["kind"]: row for row in rows if row["refund_of_id"] is None}
        left_minor = -1
        for move in moves:
            row = originals.get(move.kind)
            if row is None:
                self.differences.append(f"{move.kind} of {story.id} was not posted")
                continue
            self._compare_transaction(row, move)
            refunds = [one for one in rows if one["refund_of_id"] == row["id"]]
            rest_minor = self._compare_refunds(story, move, refunds, moves[0])
            left_minor = rest_minor if move is moves[0] else left_minor
        return left_minor

    def _compare_refunds(
        self,
        story: Story,
        move: Movement,
        refunds: list[dict[str, Any]],
        first: Movement,
    ) -> int:
        earlier: list[Movement] = []
        asked = {self._refund_id(call): call for call in story.steps["REFUND"]}
        for refund in refunds:
            part_minor = -refund["amount"]
            call = asked.pop(refund["id"], None)
            if move is first:
                rest_minor = move.figure("amount") + sum(one.figure("amount") for one in earlier)
                told = call.arguments.get("amount") if call else None
                self._same(f"refund {refund['id']}", minor(told) if told else rest_minor, part_minor)
            part = refund_part(move, earlier, part_minor)
            earlier.append(part)
            self._compare_transaction(refund, part)
            self._compare_cover(story, part, refund)
        if move is first:
            self._same(f"refunds {story.id}", 0, len(asked))
        return move.figure("amount") + sum(one.figure("amount") for one in earlier)

    def _refund_id(self, call: Call) -> UUID:
        transactions = (call.result or {})["transactions"]
        return public_ids.decode("Transaction", transactions[0]["id"], field="id")

    def _compare_cover(self, story: Story, part: Movement, refund: dict[str, Any]) -> None:
        """Compare what the host covers of a refund: the fee that the processor keeps."""
        fee_minor = -part.figure("payment_processor_fee")
        found = [
            row
            for row in self.records.by_order[story.id]
            if row["kind"] == "PAYMENT_PROCESSOR_COVER" and row["group_id"] == refund["group_id"]
        ]
        self._same(f"cover {refund['id']}", 1 if fee_minor else 0, len(found))
        if found and fee_minor:
            host = self.scene.side(part.payee.host or part.payer.host, part.host_currency)
            outside = type(host)("", host.currency)
            cover = plain_movement("PAYMENT_PROCESSOR_COVER", fee_minor, host.currency, host, outside)
            self._compare_transaction(found[0], cover)

    def _compare_transaction(self, row: dict[str, Any], move: Movement) -> None:
        """Compare figures, pinned rates and postings; add the legs to the balances."""
        self.seen.add(row["id"])
        name = f"{move.kind} {row['id']}"
        self._same(f"figures {name}", [move.figures[one] for one in FIGURES], [row[one] for one in FIGURES])
        if move.kind != "SETTLEMENT":
            self._same_rate(f"rate {name}", move.currency, move.host_currency, row["fx_rate"])
        expected = legs(move, platform=self.scene.platform)
        self._same(f"legs {name}", dict(expected), dict(self.records.legs[row["id"]]))
        self.expected.update(expected)

    def _same_rate(self, what: str, base: str, quote: str, found: Any) -> None:
        expected = rate(base, quote)
        self.compared["rate"] += 1
        if abs(float(found) - float(expected)) > 1e-12 * float(expected):
            self.differences.append(f"{what}: computed {expected}, found {found}")

    def _compare_hold(self, story: Story) -> None:
        """Compare what is set aside: an expense since its approval, time and cash since the request."""
        row = self.records.holds.get(story.id)
        decided = story.steps["REJECT"] or story.steps["CANCEL"] or story.steps["PAY"]
        if story.type == "EXPENSE":
            is_held = bool(story.steps["APPROVE"]) and not story.is_paid and not decided
        else:
            ends = decided or (story.type == "REDEMPTION" and story.steps["APPROVE"])
            is_held = story.type in HELD_FROM_START and not ends
        self._same(f"hold {story.type} {story.id}", is_held, row is not None)
        if not is_held or row is None:
            return
        amount_minor, currency = self._approved(story), self.records.orders[story.id]["currency"]
        key: Key = row["key"]
        held_minor = convert(amount_minor, rate(currency, key[2]), currency, key[2])
        self._same(f"hold {story.id} amount", held_minor, row["amount"])
        self.held[key] += held_minor

    def _compare_accounts(self) -> None:
        for key, account in self.records.accounts.items():
            self._same(f"balance {key}", self.expected[key], account["posted"])
            self._same(f"held {key}", self.held[key], account["held"])
            running = 0
            for number, (seq, amount, after) in enumerate(self.records.lines[key], start=1):
                running += amount
                self._same(f"line {key} {seq}", (number, running), (seq, after))
                if key[3] == "BALANCE" and running < 0:
                    self.differences.append(f"{key} was below zero at line {seq}")
                if key == ("dollars", "yen", "USD", "CLEARING") and running < -CLEARING_LIMIT:
                    self.differences.append(f"{key} was beyond its limit at line {seq}")
        strangers = {key for key in self.expected | self.held if key not in self.records.accounts}
        self._same("accounts", set(), strangers)


def _order_id(call: Call) -> UUID:
    return public_ids.decode("Order", (call.result or {})["order"]["id"], field="id")
