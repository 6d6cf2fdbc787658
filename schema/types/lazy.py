"""Lazy references to types that refer to each other in cycles."""

from typing import Annotated, Any, Optional

import strawberry


def _lazy(name: str, module: str) -> Any:
    return Annotated[name, strawberry.lazy(f"schema.types.{module}")]


COLLECTIVE = _lazy("Collective", "collective")
USER = _lazy("User", "user")
EVENT = _lazy("Event", "collective")
BUSINESS = _lazy("Business", "collective")
ATTENDANCE = _lazy("Attendance", "event")
BALANCE = _lazy("Balance", "balance")
ORDER = _lazy("Order", "order")
TRANSACTION = _lazy("Transaction", "transaction")
MEMBER = _lazy("Member", "member")
POSTING_CONNECTION = _lazy("PostingConnection", "ledger")
EVENT_CONNECTION = _lazy("EventConnection", "collective")


def nullable(type_: Any) -> Any:
    """Return the nullable form of a type."""
    return Optional[type_]  # noqa: UP045 - an Annotated type has no `|` in Python 3.11
