"""Direct calls of ledger_post, without the application."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg
import pytest

from models import new_id

POST = (
    "SELECT ledger_post(jsonb_populate_record(NULL::transaction, %s::jsonb), %s::uuid[], %s::uuid[],"
    " %s::text[], %s::text[], %s::bigint[], %s::uuid)"
)


@dataclass(frozen=True, order=True)
class Leg:
    """One leg; fields are in the order in which accounts are locked."""

    book: UUID
    owner: UUID
    currency: str
    kind: str
    amount_minor: int


def transaction_values(amount: int, **columns: Any) -> dict[str, Any]:
    """Return the columns of a USD transaction without fees, changed by `columns`."""
    return {
        "id": new_id(),
        "group_id": new_id(),
        "kind": "TRANSFER",
        "currency": "USD",
        "amount": amount,
        "fx_rate": 1,
        "host_currency": "USD",
        "gross": amount,
        "payment_processor_fee": 0,
        "platform_fee": 0,
        "host_fee": 0,
        "to_host_amount": amount,
        "to_collective_amount": amount,
        "has_public_side": True,
        **columns,
    }


def post(
    connection: psycopg.Connection[Any],
    row: dict[str, Any],
    lines: list[Leg],
    *,
    release: UUID | None = None,
) -> datetime:
    """Call ledger_post with the legs in their order; return the ledger time."""
    result = connection.execute(
        POST,
        [
            orjson.dumps(row, default=str).decode(),
            [line.book for line in lines],
            [line.owner for line in lines],
            [line.currency for line in lines],
            [line.kind for line in lines],
            [line.amount_minor for line in lines],
            release,
        ],
    ).fetchone()
    assert result is not None
    at: datetime = result[0]
    return at


@contextmanager
def expect_refusal(by: str) -> Iterator[None]:
    """Expect a database error with this constraint, or of this class."""
    with pytest.raises(psycopg.Error) as caught:
        yield
    assert by in {caught.value.diag.constraint_name, type(caught.value).__name__}, caught.value
