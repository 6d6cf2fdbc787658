"""The compared queries: the same rows and values from our server and from PostGraphile.

PostGraphile exposes the tables: an amount is two columns (minor units and currency) where ours is an Amount
of two fields; `rowId` is the column `id`, and `at` is our `createdAt`. Rows that our visibility rules hide
are excluded by a condition: transactions between people, and ended member rows. The other rules hide nothing
here, since this data has no followers and no private events; PostGraphile does not check them.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import psycopg

from bench import large_dataset, queries
from bench.postgres_cluster import BenchCluster
from services.collectives import directory
from services.core import pagination
from services.orders import queries as order_queries

Variables = dict[str, Any]
_DEEP = 19_000
_DEEP_COLLECTIVE = large_dataset.COLLECTIVES - 100


@dataclass(frozen=True, kw_only=True)
class Question:
    """A query written for both schemas."""

    name: str
    ours: str
    theirs: str
    variables: Variables = field(default_factory=dict)
    their_variables: Variables = field(default_factory=dict)
    fewer: int = 0
    """Number of our values that PostGraphile has no field for."""


# The balance is that of the account: `available` and `pending` are not columns. In place of `pending`, the
# query reads the pending orders (there are none), which a client would have to add up.
_COLLECTIVE = """query($slug: String!) { collectiveBySlug(slug: $slug) {
    slug name type collectiveByHostId { slug name }
    ledgerAccountsByOwnerId(condition: {kind: "BALANCE", currency: "USD"}) { nodes { posted held } }
    ordersByToId(condition: {status: "PENDING"}) { nodes { amount currency } }
} }"""

_FEED = """query($first: Int!, $after: Cursor) {
    allTransactions(
        first: $first, after: $after, condition: {hasPublicSide: true}, orderBy: [AT_DESC, ROW_ID_DESC]
    ) { nodes {
        rowId kind at description
        collectiveByFromCollectiveId { slug name type } collectiveByToCollectiveId { slug name type }
        collectiveByFromHostId { slug name } collectiveByToHostId { slug name }
        orderByOrderId { rowId status description }
        amount currency fromCollectiveAmount fromCollectiveCurrency toHostAmount toHostCurrency: hostCurrency
        toCollectiveAmount toCollectiveCurrency: currency hostFee hostFeeCurrency: hostCurrency
        platformFee platformFeeCurrency: hostCurrency
        paymentProcessorFee paymentProcessorFeeCurrency: hostCurrency
    } }
}"""

_NESTED = """query($after: Cursor) {
    allCollectives(
        first: 50, after: $after, condition: {type: "COMMUNITY"}, orderBy: [CREATED_AT_DESC, ROW_ID_DESC]
    ) { nodes {
        slug name
        membersByCollectiveId(first: 10, condition: {until: null}, orderBy: [SINCE_ASC, ROW_ID_ASC]) {
            nodes { role since collectiveByMemberId { slug name type currency } }
        }
    } }
}"""

_TRANSACTION_CURSOR = """query($offset: Int!) { page: allTransactions(first: 1, offset: $offset,
    condition: {hasPublicSide: true}, orderBy: [AT_DESC, ROW_ID_DESC]) { pageInfo { endCursor } } }"""
_COLLECTIVE_CURSOR = """query($offset: Int!) { page: allCollectives(first: 1, offset: $offset,
    condition: {type: "COMMUNITY"}, orderBy: [CREATED_AT_DESC, ROW_ID_DESC]) { pageInfo { endCursor } } }"""
THEIR_CURSORS = ((_TRANSACTION_CURSOR, {"offset": _DEEP}), (_COLLECTIVE_CURSOR, {"offset": _DEEP_COLLECTIVE}))
"""Queries for PostGraphile's cursors of the rows that our deep cursors point to."""


@dataclass(frozen=True)
class Cursors:
    """Cursors at which the deep pages begin."""

    transaction: str
    collective: str


def our_cursors(cluster: BenchCluster, name: str) -> Cursors:
    """Return our cursors of rows deep in the lists."""
    with psycopg.connect(cluster.database_url(name)) as connection:

        def at(statement: str, offset: int) -> Any:
            row = connection.execute(f"{statement} OFFSET %s LIMIT 1".encode(), [offset]).fetchone()
            assert row is not None
            return row

        at_, row_id = at("SELECT at, id FROM transaction ORDER BY at DESC, id DESC", _DEEP)
        transaction = pagination.encode_cursor(
            order_queries.TRANSACTIONS_NEWEST, SimpleNamespace(at=at_, id=row_id)
        )
        at_, row_id = at(
            "SELECT created_at, id FROM collective WHERE type = 'COMMUNITY'"
            " ORDER BY created_at DESC, id DESC",
            _DEEP_COLLECTIVE,
        )
        row = SimpleNamespace(created_at=at_, id=row_id)
        return Cursors(transaction, pagination.encode_cursor(directory.NEWEST_FIRST, row))


def build_questions(ours: Cursors, theirs: Cursors) -> list[Question]:
    """Build the questions of a run."""
    slug = {"slug": "large-1"}
    first = {"first": 100}
    return [
        Question(name="tiny", ours=queries.TINY, theirs=queries.TINY),
        Question(
            name="one collective with balance",
            ours=queries.COLLECTIVE,
            theirs=_COLLECTIVE,
            variables=slug,
            their_variables=slug,
            fewer=2,
        ),
        Question(
            name="100 transactions", ours=queries.FEED, theirs=_FEED, variables=first, their_variables=first
        ),
        Question(name="50 collectives, 10 members each", ours=queries.NESTED, theirs=_NESTED),
        Question(
            name="100 transactions, deep",
            ours=queries.FEED,
            theirs=_FEED,
            variables=first | {"after": ours.transaction},
            their_variables=first | {"after": theirs.transaction},
        ),
        Question(
            name="50 collectives, 10 members each, deep",
            ours=queries.NESTED,
            theirs=_NESTED,
            variables={"after": ours.collective},
            their_variables={"after": theirs.collective},
        ),
    ]


def count_values(answer: Any) -> int:
    """Count the leaves of an answer: values that are neither objects nor lists."""
    if isinstance(answer, dict):
        return sum(count_values(value) for value in answer.values())
    if isinstance(answer, list):
        return sum(count_values(item) for item in answer)
    return 1


def list_lengths(answer: Any) -> list[int]:
    """Return the lengths of an answer's non-empty lists, in order."""
    if isinstance(answer, dict):
        return [size for value in answer.values() for size in list_lengths(value)]
    if isinstance(answer, list) and answer:
        return [len(answer), *(size for item in answer for size in list_lengths(item))]
    return []
