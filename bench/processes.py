"""Measure what one, two and four server processes on one database answer together."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from bench import large_dataset, load, markdown_tables
from bench.client import LoadOrder
from bench.corpus_queries import CORPUS, Shape
from bench.postgres_cluster import BenchCluster, recreate_database
from bench.server_process import RunningServer, run_server

_DATABASE = "processes"
_COUNTS = (1, 2, 4)
_CONNECTIONS = 64
"""Connections of all processes together."""
_NAMES = ("a collective's head", "20 transactions as edges", "collectives with members in lists")
_START_SECONDS = 10
"""Time for what servers do when they start."""


def run(cluster: BenchCluster) -> None:
    """Measure requests a second by the number of processes, in turn."""
    recreate_database(cluster, _DATABASE)
    large_dataset.fill(cluster, _DATABASE)
    shapes = [shape for shape in CORPUS if shape.name in _NAMES]
    rates: dict[tuple[str, int], list[float]] = {}
    with ExitStack() as stack:
        servers = [stack.enter_context(run_server(cluster, _DATABASE)) for _ in range(max(_COUNTS))]
        time.sleep(_START_SECONDS)
        for number in range(cluster.rounds + 1):
            for shape in shapes:
                for count in _COUNTS:
                    rate = _measure(cluster, servers[:count], shape)
                    if number:
                        rates.setdefault((shape.name, count), []).append(rate)
    markdown_tables.print_table(
        "Processes on one database: requests a second together",
        ["query", "1 process", *(f"{count} processes" for count in _COUNTS[1:]), "2 ÷ 1", "4 ÷ 1"],
        [_row(shape.name, rates) for shape in shapes],
        f"{cluster.rounds} interleaved rounds, {_CONNECTIONS} connections in all. Clients and PostgreSQL run"
        " on the same processors.",
    )


def _measure(cluster: BenchCluster, servers: Sequence[RunningServer], shape: Shape) -> float:
    """Return the requests a second that the servers answer at the same time."""
    seconds = cluster.seconds / 4
    connections = _CONNECTIONS // len(servers)
    orders = []
    for server in servers:
        text = load.request_text(server, shape.query, shape.variables)
        orders.append(LoadOrder(server.host, server.port, text, connections, seconds, seconds / 5))
    with ThreadPoolExecutor(len(orders)) as threads:
        return sum(result.per_second for result in threads.map(load.run_load, orders))


def _row(name: str, rates: dict[tuple[str, int], list[float]]) -> list[str]:
    one, *more = (rates[name, count] for count in _COUNTS)
    return [
        name,
        *(markdown_tables.format_spread(each, ".0f") for each in (one, *more)),
        *(markdown_tables.format_spread(markdown_tables.compute_ratios(each, one)) for each in more),
    ]
