"""The corpus: what clients ask for, against another checkout of this project.

`BENCH_OTHER` names the folder of the other checkout, if there is one. Its server must work with the database
of this one.
"""

import os
import sys
import time
from dataclasses import dataclass, field
from statistics import median

import orjson

from bench import large_dataset, load, markdown_tables
from bench.client import LoadOrder
from bench.corpus_queries import CORPUS, Shape
from bench.postgres_cluster import BenchCluster, execute, recreate_database
from bench.server_process import RunningServer, run_server
from bench.statement_counts import CONTROL, logged_since

_DATABASE = "corpus"
_CONNECTIONS = 4
_OTHER = (sys.executable, "-P", "-m", "schema", "serve")
"""Imports from the other checkout, and not from the folder that the benchmark runs in."""


@dataclass
class _Side:
    """A server, with its requests a second by query."""

    server: RunningServer
    rates: dict[str, list[float]] = field(default_factory=dict)


def run(cluster: BenchCluster) -> None:
    """Measure each query of the corpus, alone or against the other checkout, the worst ratio first."""
    recreate_database(cluster, _DATABASE)
    large_dataset.fill(cluster, _DATABASE)
    other = os.environ.get("BENCH_OTHER")
    with run_server(cluster, _DATABASE) as ours:
        if other is None:
            _compare(cluster, [_Side(ours)])
            return
        with run_server(cluster, _DATABASE, _OTHER, {"PYTHONPATH": other}) as theirs:
            _compare(cluster, [_Side(ours), _Side(theirs)])


def _compare(cluster: BenchCluster, sides: list[_Side]) -> None:
    for shape in CORPUS:
        first, *others = [load.ask(side.server, _body(shape)) for side in sides]
        if any(answer != first for answer in others):
            raise SystemExit(f"Not the same: {shape.name}")
    for number in range(cluster.rounds + 1):
        print(f"round {number} of {cluster.rounds}", file=sys.stderr, flush=True)
        for shape in CORPUS:
            for side in sides:
                rate = _measure(cluster, side.server, shape)
                if number:  # the first round warms up
                    side.rates.setdefault(shape.name, []).append(rate)
    _print(cluster, sides)


def _body(shape: Shape) -> bytes:
    return orjson.dumps({"query": shape.query, "variables": shape.variables})


def _measure(cluster: BenchCluster, server: RunningServer, shape: Shape) -> float:
    request = load.request_text(server, shape.query, shape.variables)
    seconds = cluster.seconds / 4
    order = LoadOrder(server.host, server.port, request, _CONNECTIONS, seconds, seconds / 5)
    return load.run_load(order).per_second


def _print(cluster: BenchCluster, sides: list[_Side]) -> None:
    execute(cluster, "postgres", "ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
    rows = []
    for shape in CORPUS:
        ours, *others = [side.rates[shape.name] for side in sides]
        ratios = [markdown_tables.compute_ratios(ours, other) for other in others]
        cells = [
            *(markdown_tables.format_spread(side.rates[shape.name], ".0f") for side in sides),
            *(markdown_tables.format_spread(ratio) for ratio in ratios),
            *(_count_statements(cluster, side.server, shape) for side in sides),
        ]
        rows.append((median(ratios[0] if ratios else ours), [shape.name, *cells]))
    execute(cluster, "postgres", "ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")
    has_other = len(sides) > 1
    markdown_tables.print_table(
        "The corpus, requests a second",
        [
            "query",
            "ours",
            *(["other", "ours ÷ other"] if has_other else []),
            "statements",
            *(["of the other"] if has_other else []),
        ],
        [cells for _, cells in sorted(rows)],
        f"{_CONNECTIONS} connections, anonymous, {cluster.rounds} interleaved rounds. Statements of a"
        " request, with those that begin or end a transaction after the plus.",
    )


def _count_statements(cluster: BenchCluster, server: RunningServer, shape: Shape) -> str:
    """Count the statements of a request: the fewest of three, since background work adds some."""
    counts = []
    for _ in range(3):
        at = cluster.log.stat().st_size
        load.ask(server, _body(shape))
        time.sleep(0.05)
        words = logged_since(cluster, at)
        control = sum(word in CONTROL for word in words)
        counts.append((len(words) - control, control))
    return "{} + {}".format(*min(counts))
