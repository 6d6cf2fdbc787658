"""The decision on an approval that may need a second person, without a database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from models import Order
from services.core.errors import Invalid, InvalidState, SelfApproval
from services.core.money import Money

PEOPLE = 2


@dataclass(frozen=True, kw_only=True)
class ApprovalFacts:
    """What is known of a locked order whose approval may need two people."""

    status: str
    updated_at: datetime
    single_limit: int | None
    """The largest amount that one person may approve, in minor units of the order's currency."""
    people: Sequence[UUID]
    """Those who stand for the order so far."""
    person_id: UUID
    """The person who approves now, by the account that is left of theirs."""
    first_minor: int | None
    """The amount of the newest approval by one of them."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome of an approval: the amount, and whether it decides the order or waits for a second."""

    amount_minor: int
    is_final: bool
    is_kept: bool = False
    """True if the approval is stored as one of those that the order needs."""


def needs_facts(order: Order, *, amount_minor: int, single_limit: int | None) -> bool:
    """True if the amount, or the one asked for, with the tip is more than one person may approve."""
    if single_limit is None:
        return False
    return max(amount_minor, order.amount) + (order.tip or 0) > single_limit


def decide_approval(
    order: Order, facts: ApprovalFacts, *, amount_minor: int, is_amount_given: bool
) -> Decision:
    """Decide what an approval above the limit does; a gift and its tip are approved as one.

    A second person who gives no amount approves that of the first.

    Raises:
        SelfApproval: the person has approved the order already, or logged these hours.
        Invalid: another amount than that of the first approval.
        InvalidState: the order has changed meanwhile.
    """
    if (facts.status, facts.updated_at) != (order.status, order.updated_at):
        raise InvalidState("The order has changed. Load it again.", field="id")
    if facts.first_minor is not None and not is_amount_given:
        amount_minor = facts.first_minor
    if facts.single_limit is None or amount_minor + (order.tip or 0) <= facts.single_limit:
        return Decision(amount_minor=amount_minor, is_final=True)
    _require_second(order, facts, facts.single_limit)
    if facts.first_minor not in {None, amount_minor}:
        agreed = Money(facts.first_minor or 0, order.currency)
        raise Invalid(
            f"The first approval is of {agreed.text} {agreed.currency}. Approve that amount, or reject it.",
            field="amount",
        )
    return Decision(
        amount_minor=amount_minor,
        is_final=len({*facts.people, facts.person_id}) >= PEOPLE,
        is_kept=facts.person_id not in facts.people,
    )


def _require_second(order: Order, facts: ApprovalFacts, single_limit: int) -> None:
    """Refuse a person who stands for the order already, unless two people do since one of them is back."""
    if facts.person_id not in facts.people or len(facts.people) >= PEOPLE:
        return
    limit = Money(single_limit, order.currency)
    raise SelfApproval(
        "You have approved this order already, or logged these hours. Above "
        f"{limit.text} {limit.currency}, a second ADMIN has to approve.",
        field="id",
    )
