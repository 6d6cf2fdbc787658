"""Compare each money mutation over HTTP with its posting alone, where it posts."""

import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from bench import markdown_tables, mutation_calls, paired_rounds
from bench.mutation_calls import DATABASE, Call, MoneyScene
from bench.paired_rounds import CONNECTIONS, Side, Work
from bench.postgres_cluster import BenchCluster
from bench.server_process import Connection, RunningServer
from bench.world import BenchScene, measure_server
from models.enums import TransactionKind
from tests.statement_counts import record_round_trips

_PER_SECOND = 600
"""Orders created for each second of measuring a mutation that decides them: more than one process can."""
_TARGET = 3


@dataclass(frozen=True)
class Mutation:
    """A mutation to measure."""

    name: str
    field: str
    prepare: Callable[[MoneyScene], Awaitable[Iterator[Call]]]
    posts: TransactionKind | None = None
    selection: str = "id status"
    """What is selected of the order."""

    @property
    def query(self) -> str:
        """The operation."""
        name = self.field[0].upper() + self.field[1:]
        return (
            f"mutation($i: {name}Input!) {{ {self.field}(input: $i) {{ order {{ {self.selection} }}"
            " errors { code message } } }"
        )


_SIDE = '{ slug name host { slug } balance(currency: "USD") { available { value } } }'
_RELATIONS = f"""id status createdBy {{ slug }} from {_SIDE} to {_SIDE}
    transactions {{ kind amount {{ value currency }} toHost {{ slug }} }}"""
MUTATIONS = (
    Mutation(
        "donate, from a balance", "donate", mutation_calls.gifts_from_balances, TransactionKind.DONATION
    ),
    Mutation(
        "donate, from a balance, with both sides, their balances and the transactions",
        "donate",
        mutation_calls.gifts_from_balances,
        TransactionKind.DONATION,
        _RELATIONS,
    ),
    Mutation("donate, by bank transfer", "donate", mutation_calls.gifts_by_transfer),
    Mutation("addFunds", "addFunds", mutation_calls.added_funds, TransactionKind.ADDED_FUNDS),
    Mutation("submitExpense", "submitExpense", mutation_calls.expenses),
    Mutation("approveOrder, an expense", "approveOrder", mutation_calls.pending_expenses),
    Mutation("payOrder, an expense", "payOrder", mutation_calls.approved_expenses, TransactionKind.EXPENSE),
    Mutation("logHours", "logHours", mutation_calls.logged_hours),
    Mutation("approveOrder, hours", "approveOrder", mutation_calls.pending_hours, TransactionKind.TRANSFER),
    Mutation("checkIn", "checkIn", mutation_calls.check_ins, TransactionKind.TRANSFER),
    Mutation("redeemOffer", "redeemOffer", mutation_calls.redemptions),
)
_KEYS = itertools.count(1)


def run(cluster: BenchCluster) -> None:
    """Measure the mutations a second, and the cost of one, by number of connections."""
    calls: dict[str, Iterator[Call]] = {}
    counts: dict[str, tuple[int, int]] = {}

    async def prepare(bench: BenchScene) -> None:
        count = round(_PER_SECOND * cluster.seconds * (cluster.rounds + 1) * len(CONNECTIONS))
        scene = await MoneyScene.create(cluster, bench, count)
        calls.update({each.name: await each.prepare(scene) for each in MUTATIONS})
        counts.update({each.name: await _count(scene, each, calls[each.name]) for each in MUTATIONS})

    async def measure(_: BenchScene, server: RunningServer) -> list[list[str]]:
        return [
            await _compare(cluster, server, each, calls[each.name], connections, counts[each.name])
            for each in MUTATIONS
            for connections in CONNECTIONS
        ]

    rows, note = measure_server(cluster, DATABASE, prepare, measure)
    markdown_tables.print_table(
        "Money mutations: GraphQL over HTTP on one process, each beside its posting alone",
        [
            "mutation",
            "connections",
            "a second",
            "postings/s",
            f"HTTP ÷ posting, time ≤ {_TARGET}",
            *paired_rounds.HTTP_HEAD,
            "round trips",
            "statements",
        ],
        rows,
        "Every call has an idempotency key of its own and is durable; a mutation that posts nothing by itself"
        f" has no posting beside it. {cluster.rounds} interleaved rounds of {cluster.seconds:g} s a side; CPU"
        " times are those of the processes for each operation. Beside hours, a transfer of currents is"
        " posted, since issuing them needs an order. Round trips and statements are of a viewer whom the"
        f" process knows, BEGIN and COMMIT not counted. {note}",
    )


async def _count(scene: MoneyScene, mutation: Mutation, calls: Iterator[Call]) -> tuple[int, int]:
    """Return the round trips and statements of a call, the second of its viewer and document."""
    engine = scene.world.sessions.kw["bind"]
    assert isinstance(engine, AsyncEngine)
    first, second = next(calls), next(calls)
    await scene.world.query("{ me { slug } }", by=second.by)
    await _call_in_process(scene, mutation, first)
    with record_round_trips(engine) as trips:
        await _call_in_process(scene, mutation, second)
    return len(trips), sum(map(len, trips))


async def _call_in_process(scene: MoneyScene, mutation: Mutation, call: Call) -> None:
    data = await scene.world.query(mutation.query, by=call.by, **_variables(call))
    if data[mutation.field]["errors"]:
        raise SystemExit(f"{mutation.name} failed: {data}")


def _variables(call: Call) -> dict[str, Any]:
    return {"i": {**call.arguments, "idempotencyKey": f"bench-{next(_KEYS)}"}}


async def _compare(
    cluster: BenchCluster,
    server: RunningServer,
    mutation: Mutation,
    calls: Iterator[Call],
    connections: int,
    counts: tuple[int, int],
) -> list[str]:
    http, alone = Side(), Side()
    async with AsyncExitStack() as stack:
        workers = [
            _worker(await stack.enter_async_context(Connection(server)), mutation, calls)
            for _ in range(connections)
        ]
        sides = [(http, workers)]
        if mutation.posts is not None:
            posters = await paired_rounds.open_posters(
                cluster, stack, DATABASE, kind=mutation.posts, count=connections
            )
            sides.append((alone, posters))
        await paired_rounds.measure(cluster, server, *sides)
    beside = ["", ""]
    if alone.rate:
        ratios = markdown_tables.compute_ratios(alone.rate, http.rate)
        beside = [
            markdown_tables.format_spread(alone.rate, ".0f"),
            markdown_tables.format_spread(ratios, ".1f"),
        ]
    return [
        mutation.name,
        str(connections),
        markdown_tables.format_spread(http.rate, ".0f"),
        *beside,
        *paired_rounds.http_cells(http),
        *map(str, counts),
    ]


def _worker(http: Connection, mutation: Mutation, calls: Iterator[Call]) -> Work:
    query = mutation.query

    async def work() -> None:
        if (call := next(calls, None)) is None:
            raise SystemExit(f"{mutation.name}: nothing is left to do, raise _PER_SECOND")
        answer = await http.query(query, _variables(call), token=call.by.token)
        if b'"errors":[]' not in answer:
            raise SystemExit(f"{mutation.name} failed: {answer!r}")

    return work
