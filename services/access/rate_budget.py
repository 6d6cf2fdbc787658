"""The budget from which an operation is charged, as the operation itself is told of it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import DateTime, Integer, Select, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB

from services.access.rate_limits import Charge


@dataclass(frozen=True)
class ChargeFacts:
    """What an operation is told of its points, as JSON; empty if they are not counted."""

    facts: str = ""


@dataclass(frozen=True)
class RateLimit:
    """The budget of a client, in points."""

    cost: int
    limit: int
    remaining: int
    used: int
    reset_at: datetime


def load_budget(charge: Charge | None) -> RateLimit | None:
    """Return the budget from which an operation is charged; None if points are not counted."""
    if charge is None:
        return None
    left = charge.remaining
    reset_at = datetime.now(UTC) + timedelta(seconds=charge.reset_seconds(left))
    return RateLimit(charge.cost, charge.limit, left, charge.limit - left, reset_at)


def to_charge_facts(charge: Charge | None) -> ChargeFacts:
    """Return the budget as a statement takes it."""
    budget = load_budget(charge)
    return ChargeFacts("" if budget is None else orjson.dumps(budget).decode())


def select_budget(actor: object, *, where: ChargeFacts, owner: object = None) -> tuple[Select[Any]]:
    """Select the budget from its JSON; nothing if points are not counted."""
    del actor, owner
    facts = cast(func.nullif(where.facts, ""), JSONB)

    def fact(name: str, type_: Any) -> Any:
        return cast(func.jsonb_extract_path_text(facts, name), type_).label(name)

    numbers = (fact(name, Integer) for name in ("cost", "limit", "remaining", "used"))
    known: Select[Any] = select(*numbers, fact("reset_at", DateTime(timezone=True)))
    return (known.where(facts.is_not(None)),)
