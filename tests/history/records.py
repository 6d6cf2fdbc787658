"""The tables of orders and the ledger, read once."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from tests.history.arithmetic import Key

ORDERS = """SELECT id, type, status, currency, amount, created_at,
    extract(epoch FROM ends_at - starts_at) AS seconds FROM "order" """
ACTIONS = "SELECT order_id, type FROM order_action"
TRANSACTIONS = "SELECT * FROM transaction ORDER BY at, id"
KEY = "b.slug AS book, o.slug AS owner, a.currency, a.kind"
ACCOUNTS = f"""SELECT {KEY}, a.posted, a.held FROM ledger_account a
    JOIN collective b ON b.id = a.book_id JOIN collective o ON o.id = a.owner_id"""
POSTINGS = f"""SELECT {KEY}, p.transaction_id, p.seq, p.amount, p.balance_after
    FROM posting p JOIN ledger_account a ON (a.book_id, a.id) = (p.book_id, p.account_id)
    JOIN collective b ON b.id = a.book_id JOIN collective o ON o.id = a.owner_id
    ORDER BY p.book_id, p.account_id, p.seq"""
HOLDS = f"""SELECT {KEY}, h.order_id, h.amount
    FROM hold h JOIN ledger_account a ON (a.book_id, a.id) = (h.book_id, h.account_id)
    JOIN collective b ON b.id = a.book_id JOIN collective o ON o.id = a.owner_id
    WHERE h.released_at IS NULL"""
Row = dict[str, Any]


@dataclass(frozen=True)
class Records:
    """Rows by what they belong to."""

    orders: dict[UUID, Row]
    steps: dict[UUID, list[str]]
    transactions: dict[UUID, Row]
    by_order: dict[UUID, list[Row]]
    legs: dict[UUID, Counter[Key]]
    lines: dict[Key, list[tuple[int, int, int]]]
    """Number, amount and balance of each line of an account."""
    accounts: dict[Key, Row]
    holds: dict[UUID, Row]
    """Open holds by order."""


def read_records(url: str) -> Records:
    """Read everything as the owner of the tables, of one moment."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        orders, actions, transactions, accounts, postings, holds = (
            connection.execute(sql.encode()).fetchall()
            for sql in (ORDERS, ACTIONS, TRANSACTIONS, ACCOUNTS, POSTINGS, HOLDS)
        )
    steps: dict[UUID, list[str]] = defaultdict(list)
    by_order: dict[UUID, list[Row]] = defaultdict(list)
    legs: dict[UUID, Counter[Key]] = defaultdict(Counter)
    lines: dict[Key, list[tuple[int, int, int]]] = defaultdict(list)
    for row in actions:
        steps[row["order_id"]].append(row["type"])
    for row in transactions:
        by_order[row["order_id"]].append(row)
    for row in postings:
        legs[row["transaction_id"]][_key(row)] += row["amount"]
        lines[_key(row)].append((row["seq"], row["amount"], row["balance_after"]))
    return Records(
        {row["id"]: row for row in orders},
        steps,
        {row["id"]: row for row in transactions},
        by_order,
        legs,
        lines,
        {_key(row): row for row in accounts},
        {row["order_id"]: row | {"key": _key(row)} for row in holds},
    )


def _key(row: Row) -> Key:
    return row["book"], row["owner"], row["currency"], row["kind"]
