"""Writing to the ledger past the application: the arguments of ledger_post, bound by hand."""

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
class Line:
    """One leg; the order of the fields is that of locking."""

    book: UUID
    owner: UUID
    currency: str
    kind: str
    amount: int


def figures(amount: int, **columns: Any) -> dict[str, Any]:
    """Return a transaction of an amount in USD without fees, with other columns as given."""
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
    lines: list[Line],
    *,
    release: UUID | None = None,
) -> datetime:
    """Call ledger_post with the lines as they stand; return the ledger time."""
    found = connection.execute(
        POST,
        [
            orjson.dumps(row, default=str).decode(),
            [line.book for line in lines],
            [line.owner for line in lines],
            [line.currency for line in lines],
            [line.kind for line in lines],
            [line.amount for line in lines],
            release,
        ],
    ).fetchone()
    assert found is not None
    at: datetime = found[0]
    return at


@contextmanager
def refused(by: str) -> Iterator[None]:
    """Expect the database's refusal: by a constraint's name, or else by the name of the error."""
    with pytest.raises(psycopg.Error) as caught:
        yield
    assert by in {caught.value.diag.constraint_name, type(caught.value).__name__}, caught.value
