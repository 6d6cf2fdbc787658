"""SQL files: every statement is described, and PostgreSQL can plan it."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from models import new_id, now
from services.core.sql_files import read_statements
from tests.factories import World

SERVICES = Path(__file__).parents[2] / "services"
STATEMENTS = {
    f"{path.parents[1].name}/{path.stem}.{name}": statement
    for path in sorted(SERVICES.glob("*/sql/*.sql"))
    for name, statement in read_statements(path).items()
}
ID, NOW = new_id(), now()
PARAMETERS: dict[str, Any] = {
    "amount": 1,
    "at": NOW,
    "amounts": [1, -1],
    "book": ID,
    "book_id": ID,
    "books": [ID, ID],
    "capacity": 100.0,
    "chunk": 5.0,
    "count": 10,
    "counterpart_id": ID,
    "creditor_id": ID,
    "currencies": ["USD", "USD"],
    "currency": "USD",
    "debtor_id": ID,
    "collective_id": ID,
    "event_job": "process_provider_event",
    "except_id": ID,
    "first_amounts": [1],
    "first_kinds": ["BALANCE"],
    "first_owners": [ID],
    "firsts": [1],
    "lasts": [2],
    "from_id": ID,
    "gift_id": ID,
    "periods": [NOW.date()],
    "to_id": ID,
    "until": NOW,
    "full": False,
    "giver_id": ID,
    "host_id": ID,
    "id": 0,
    "ids": [ID],
    "keep": timedelta(hours=1),
    "kept_for": timedelta(hours=1),
    "key": "user:1",
    "kind": "NOTICE",
    "kinds": ["ORDER"],
    "late": [ID],
    "limit": 100,
    "limit_minor": 1,
    "limits": "{}",
    "month": NOW.date(),
    "need": 1.0,
    "network": "",
    "of_id": ID,
    "order_id": ID,
    "order_ids": [ID],
    "outcomes": "[]",
    "owner_id": ID,
    "owners": [ID, ID],
    "payload": "{}",
    "person_id": ID,
    "platform_id": ID,
    "providers": ["FAKE"],
    "queue": "default",
    "refund_job": "send_provider_refund",
    "release": None,
    "restore": 1.0,
    "returned": 0.0,
    "row": "{}",
    "rows": "[]",
    "second_amounts": [1],
    "second_kinds": ["BALANCE"],
    "second_owners": [ID],
    "seconds": 60.0,
    "sender": ID,
    "template": "money_received",
    "topic": "MONEY",
    "token_hash": b"0" * 32,
    "until_id": 0,
    "until_xid": 10,
    "xid": 0,
}


def test_statements_are_found_in_every_package() -> None:
    assert {"access/rate_limits.lease_points", "live/event_log.events_after"} <= STATEMENTS.keys()


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_is_described_in_a_sentence(name: str) -> None:
    description = STATEMENTS[name].description
    assert description.endswith(".")
    assert len(description.split()) >= 3


@pytest.mark.parametrize("name", STATEMENTS)
async def test_postgresql_plans_a_statement(shared: World, name: str) -> None:
    sql = STATEMENTS[name].sql
    names = re.findall(r"(?<![:\w]):([a-z_]+)", sql)
    async with shared.sessions() as session:
        plan = await session.execute(text(f"EXPLAIN {sql}"), {key: PARAMETERS[key] for key in names})
        assert plan.all()
