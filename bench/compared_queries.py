"""What the servers are asked: the same rows and values of ours and of PostGraphile, each in its own words.

PostGraphile has the tables: amounts are two columns (minor units and currency) where ours is an Amount of two
fields; `rowId` is the column `id`, and `at` is our `createdAt`. What ours leaves out by its rules is left out
by a condition: transactions between people, member rows that have ended. Its other rules take nothing away
here, for there are no followers and no private events in this world; PostGraphile does not check them.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import psycopg

from bench import large_dataset, queries
from bench.postgres_cluster import Place
from services.collectives import directory
from services.core import pagination
from services.orders import queries as order_queries

Variables = dict[str, Any]
_DEEP = 19_000
_DEEP_COLLECTIVE = large_dataset.COLLECTIVES - 100


@dataclass(frozen=True, kw_only=True)
class Question:
    """A query in the words of both schemas."""

    name: str
    ours: str
    theirs: str
    variables: Variables = field(default_factory=dict)
    their_variables: Variables = field(default_factory=dict)
    fewer: int = 0
    """How many of our values PostGraphile has no field for."""


# The balance is that of the account: `available` and `pending` are no columns. For `pending` the orders on
# their way are read, of which there are none; a client would have to sum them.
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

_TRANSACTION_CURSOR = """query($offset: Int!) { found: allTransactions(first: 1, offset: $offset,
    condition: {hasPublicSide: true}, orderBy: [AT_DESC, ROW_ID_DESC]) { pageInfo { endCursor } } }"""
_COLLECTIVE_CURSOR = """query($offset: Int!) { found: allCollectives(first: 1, offset: $offset,
    condition: {type: "COMMUNITY"}, orderBy: [CREATED_AT_DESC, ROW_ID_DESC]) { pageInfo { endCursor } } }"""
THEIR_CURSORS = ((_TRANSACTION_CURSOR, {"offset": _DEEP}), (_COLLECTIVE_CURSOR, {"offset": _DEEP_COLLECTIVE}))
"""What PostGraphile is asked for its own cursors of the rows that ours point to."""


@dataclass(frozen=True)
class Cursors:
    """Where the deep pages begin."""

    transaction: str
    collective: str


def our_cursors(place: Place, name: str) -> Cursors:
    """Return the cursors of rows far down."""
    with psycopg.connect(place.database_url(name)) as connection:

        def at(statement: str, offset: int) -> Any:
            row = connection.execute(f"{statement} OFFSET %s LIMIT 1".encode(), [offset]).fetchone()
            assert row is not None
            return row

        moment, row_id = at("SELECT at, id FROM transaction ORDER BY at DESC, id DESC", _DEEP)
        transaction = pagination.encode_cursor(
            order_queries.TRANSACTIONS_NEWEST, SimpleNamespace(at=moment, id=row_id)
        )
        moment, row_id = at(
            "SELECT created_at, id FROM collective WHERE type = 'COMMUNITY'"
            " ORDER BY created_at DESC, id DESC",
            _DEEP_COLLECTIVE,
        )
        place_of = SimpleNamespace(created_at=moment, id=row_id)
        return Cursors(transaction, pagination.encode_cursor(directory.NEWEST_FIRST, place_of))


def all_of(ours: Cursors, theirs: Cursors) -> list[Question]:
    """Return the questions of a run."""
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


def values_in(answer: Any) -> int:
    """Count the values of an answer: what is neither an object nor a list."""
    if isinstance(answer, dict):
        return sum(values_in(value) for value in answer.values())
    if isinstance(answer, list):
        return sum(values_in(item) for item in answer)
    return 1


def lists_in(answer: Any) -> list[int]:
    """Return the lengths of an answer's lists that hold something, in their order."""
    if isinstance(answer, dict):
        return [size for value in answer.values() for size in lists_in(value)]
    if isinstance(answer, list) and answer:
        return [len(answer), *(size for item in answer for size in lists_in(item))]
    return []
