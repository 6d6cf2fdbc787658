"""Copies of what the database holds of a person: a zip of JSON and CSV, for 24 hours. A job makes them."""

import asyncio
import json
import zipfile
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Select,
    Table,
    Uuid,
    case,
    false,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col

from models import Credential, DataExport, LedgerAccount, Order, now
from services.access import attempt_limits
from services.access.actor import Actor
from services.access.permissions import Action, require
from services.core.errors import Conflict, RateLimited
from services.core.file_stores import read_change
from services.core.spreadsheet_cells import BYTE_ORDER_MARK, Cell, format_line
from services.database import job_queue

KEPT_FOR = timedelta(hours=24)
PARTIAL = ".part"
"""Suffix of a copy that is being made."""
JOB = "make_export"
"""Name of the job that makes a copy; its argument is `export_id`."""
SECRET_COLUMNS = frozenset({"password_hash", "token", "client_secret", "redirect_url"})
"""Texts that open something. Secrets in bytes, hashes above all, are left out by their type."""
NOT_PERSONAL = frozenset(
    {
        # The installation's own.
        *(
            "backup_run",
            "currency",
            "demo_load",
            "fx_rate",
            "audit_run",
            "audited_account",
            "live_event",
            "rate_bucket",
            "throttle",
        ),
        # Figures of others' or of whole collectives, which those who run them export there.
        *("refund_total", "raised_total", "settlement", "provider_event"),
    }
)
"""Tables without anything of a person beside what other tables say."""
_ACTS = frozenset(
    {
        "created_by_id",
        "connect_by_id",
        "decided_by_id",
        "by_id",
        "ended_by_id",
        "checked_in_by_id",
        "approver_id",
        "coordinator_id",
        "requested_by_id",
    }
)
"""Columns that say who acted on a row of others."""
_OF_ACTS = frozenset(
    {"id", "type", "status", "at", "created_at", "description", "private_message", "message", "reason"}
)
"""Columns of a row of others that are shown to who made it: their own texts, and when. No more: a row may say
whose an address is."""
_HIDDEN = {"order": frozenset({"addressed_to_id", "claimed_giver_id"})}
"""Columns that are shown to others alone: the volunteer named an address, the host a giver."""
_OF_GIVERS = {
    "order": ("from_id", "created_by_id"),
    "subscription": ("from_id", "created_by_id", "instrument_id"),
    "transaction": (
        "from_collective_id",
        "from_host_id",
        "from_host_currency",
        "from_host_fx_rate",
        "from_host_amount",
        "from_collective_currency",
        "from_collective_fx_rate",
        "from_collective_amount",
    ),
}
"""Columns of incognito gifts that are shown to the giver, who is the first of them: not to who got one."""
_OF_THE_ACTOR = {"act": frozenset({"network", "token_id", "token_kind", "database_role"})}
"""Columns that are shown to who acted: from where, and in which session."""
_BY_ADDRESS = {"outbox": "recipient", "mail_stop": "address"}
_OF_PARTIES = {
    "transaction": ("from_collective_id", "to_collective_id"),
    "act": ("actor_id", "collective_id", "other_id"),
    "act_subject": ("collective_id",),
    "idempotency": ("actor_id",),
}
"""Columns that name a person without a foreign key."""
_OF_ORDERS = ("order_item", "order_action", "redemption", "hold", "provider_payment", "provider_refund")


async def request(session: AsyncSession, actor: Actor) -> DataExport:
    """Ask for a copy of what the database holds of the actor; a mail tells when it is ready.

    Raises:
        Conflict: one is being made already.
        RateLimited: three were asked for within a day.
    """
    require(actor, Action.EXPORT_MY_DATA)
    assert actor.user is not None
    waiting = select(DataExport).where(
        col(DataExport.user_id) == actor.id, col(DataExport.finished_at).is_(None)
    )
    if (await session.execute(waiting)).scalar_one_or_none() is not None:
        raise Conflict("Your data are being collected already. A mail tells when they are ready.", field=())
    if not await attempt_limits.consume_export(session, user_id=actor.user.id):
        raise RateLimited("Too many exports. Try again tomorrow.", field=())
    row = DataExport(user_id=actor.user.id)
    session.add(row)
    await session.flush()
    await job_queue.add_job(session, name=JOB, arguments={"export_id": str(row.id)})
    return row


async def find(session: AsyncSession, actor: Actor, *, export_id: UUID) -> DataExport | None:
    """Find a copy that the actor may fetch, in a session of their own, and note that it was fetched."""
    if actor.user is None or actor.scopes is not None:
        return None
    statement = (
        update(DataExport)
        .where(
            col(DataExport.id) == export_id,
            col(DataExport.user_id) == actor.id,
            col(DataExport.expires_at) > func.now(),
            col(DataExport.removed_at).is_(None),
        )
        .values(downloaded_at=func.coalesce(col(DataExport.downloaded_at), func.now()))
        .returning(DataExport)
        .execution_options(synchronize_session=False)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def delete_expired(session: AsyncSession, *, folder: Path) -> None:
    """Delete the files of copies whose time is over, and of people who were erased."""
    statement = (
        update(DataExport)
        .where(col(DataExport.removed_at).is_(None), col(DataExport.expires_at) <= func.now())
        .values(removed_at=func.now())
        .returning(DataExport)
        .execution_options(synchronize_session=False)
    )
    for row in (await session.execute(statement)).scalars():
        export_path(row, folder=folder).unlink(missing_ok=True)
    await asyncio.to_thread(_delete_unfinished, folder)


def _delete_unfinished(folder: Path) -> None:
    """Delete what workers that died have left: no attempt takes as long as a copy is kept."""
    for path in folder.glob(f"*{PARTIAL}"):
        changed_at = read_change(path)
        if changed_at is not None and changed_at < now() - KEPT_FOR:
            path.unlink(missing_ok=True)


def export_path(row: DataExport, *, folder: Path) -> Path:
    """Return the path of a copy's file."""
    return folder / f"{row.id.hex}.zip"


def tables() -> list[Table]:
    """Return the tables that a copy holds rows of."""
    return [table for table in SQLModel.metadata.sorted_tables if table.name not in NOT_PERSONAL]


def names_people(table: Table) -> bool:
    """True if it is known how rows of the table name a person."""
    known = {*_BY_ADDRESS, *_OF_PARTIES, *_OF_ORDERS, "collective", "posting"}
    return table.name in known or bool(_keys_of_people(table))


def _condition(table: Table, user_id: UUID) -> ColumnElement[bool]:
    """Return the condition of the rows of a table that name a person."""
    if table.name in _BY_ADDRESS:
        addresses = select(col(Credential.email)).where(col(Credential.user_id) == user_id)
        return table.c[_BY_ADDRESS[table.name]].in_(addresses)
    if table.name == "collective":
        return (table.c.id == user_id) | (table.c.merged_into_id == user_id)
    if table.name == "posting":
        owned = select(col(LedgerAccount.id)).where(col(LedgerAccount.owner_id) == user_id)
        return table.c.account_id.in_(owned)
    names = _OF_PARTIES.get(table.name) or [name for name in _keys_of_people(table) if name not in _ACTS]
    conditions = [table.c[name] == literal(user_id, Uuid) for name in names]
    if table.name in _OF_ORDERS:
        own = select(col(Order.id)).where(
            or_(
                col(Order.from_id) == user_id,
                col(Order.to_id) == user_id,
                col(Order.created_by_id) == user_id,
            )
        )
        conditions.append(table.c.order_id.in_(own))
    return or_(false(), *conditions)


def _keys_of_people(table: Table) -> list[str]:
    return [key.parent.name for key in table.foreign_keys if key.column.table.name == "collective"]


def _statements(table: Table, user_id: UUID) -> dict[str, Select[Any]]:
    """Return the reads of a table by the name of the file: the person's rows, and rows that they made."""
    columns = [
        _shown_column(table, c, user_id)
        for c in table.c
        if not isinstance(c.type, LargeBinary)
        and c.name not in SECRET_COLUMNS | _HIDDEN.get(table.name, frozenset())
    ]
    reads: dict[str, Select[Any]] = {table.name: select(*columns).where(_condition(table, user_id))}
    acts = [name for name in _keys_of_people(table) if name in _ACTS]
    if acts:
        shown = [c for c in columns if c.name in _OF_ACTS or c.name in acts]
        made = or_(*(table.c[name] == literal(user_id, Uuid) for name in acts))
        reads[f"{table.name}_by_you"] = select(*shown).where(made, ~_condition(table, user_id))
    return reads


def _shown_column(table: Table, column: Any, user_id: UUID) -> Any:
    """Return a column, or what of it is the person's to see."""
    person = literal(user_id, Uuid)
    if column.name in _OF_THE_ACTOR.get(table.name, ()):
        return case((table.c.actor_id == person, column)).label(column.name)
    if (table.name, column.name) == (
        "outbox",
        "sender_id",
    ):  # a mail about a gift may come of an incognito one
        return case((column == person, column)).label(column.name)
    if column.name in (givers := _OF_GIVERS.get(table.name, ())):
        is_known = or_(~table.c.is_incognito, table.c[givers[0]] == person)
        return case((is_known, column)).label(column.name)
    if (table.name, column.name) == ("order_action", "actor_id"):
        hidden = select(col(Order.id)).where(
            col(Order.id) == table.c.order_id, col(Order.is_incognito), col(Order.from_id) != person
        )
        return case((or_(~hidden.exists(), column == person), column)).label(column.name)
    return column


async def write_tables(session: AsyncSession, archive: zipfile.ZipFile, *, user_id: UUID) -> None:
    """Write a JSON and a CSV file for each table with rows that name the person."""
    for table in tables():
        for name, statement in _statements(table, user_id).items():
            rows = [_without_token(dict(row)) for row in (await session.execute(statement)).mappings()]
            if rows:
                await asyncio.to_thread(_write_rows, archive, name, rows)


def _write_rows(archive: zipfile.ZipFile, name: str, rows: list[dict[str, Any]]) -> None:
    text = json.dumps(rows, default=str, ensure_ascii=False, indent=1)
    archive.writestr(f"json/{name}.json", text)
    lines = [format_line(rows[0]), *(format_line(map(_to_cell, row.values())) for row in rows)]
    archive.writestr(f"csv/{name}.csv", BYTE_ORDER_MARK + "".join(lines))


def _without_token(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the token of a mail that waits."""
    if isinstance(payload := row.get("payload"), dict):
        row["payload"] = {key: value for key, value in payload.items() if key != "token"}
    return row


def _to_cell(value: Any) -> Cell:
    if isinstance(value, dict | list):
        return json.dumps(value, default=str, ensure_ascii=False)
    return value if isinstance(value, int | Decimal | None) else str(value)
