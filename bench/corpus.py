"""The corpus: what clients ask for, anonymous and signed in, beside PostGraphile 5 and another checkout.

`BENCH_OTHER` names the folder of another checkout of this project, if there is one. Its server must work with
the database of this one.
"""

import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from typing import Any

import orjson
import psycopg

from bench import large_dataset, load, markdown_tables, postgraphile
from bench.client import LoadOrder, LoadResult
from bench.compared_queries import list_lengths
from bench.corpus_postgraphile import THEIR_VARIABLES, THEIRS
from bench.corpus_queries import CORPUS, Shape
from bench.postgres_cluster import BenchCluster, execute, recreate_database
from bench.server_process import RunningServer, run_server
from bench.statement_counts import CONTROL, logged_since
from services.access.actor import hash_token

_DATABASE = "corpus"
_CONNECTIONS = (4, 64)
_NEW_REQUESTS = 12
_OTHER_COMMAND = (sys.executable, "-P", "-m", "schema", "serve")
"""Imports from the other checkout, and not from the folder that the benchmark runs in."""
_OURS, _SIGNED_IN, _THEIRS, _OTHER = "ours", "signed in", "PostGraphile 5", "other"
_MIN_SHAPE, _MIN_MEDIAN, _MAX_SIGNED_IN = 1.2, 2.5, 1.15


@dataclass
class _Side:
    """A server as one caller, with its load results by query and connections."""

    name: str
    server: RunningServer
    token: str | None = None
    results: dict[tuple[str, int], list[LoadResult]] = field(default_factory=dict)

    def body(self, shape: Shape, *, new_field: str = "") -> bytes | None:
        """Return the body of the request for a shape; None if this server cannot be asked for it.

        With `new_field` it selects one more field, under that name.
        """
        query, variables = self._words(shape)
        if query and new_field:
            at = [match.end(1) for match in re.finditer(r"(\w)\s*}", query)][-1]
            query = f"{query[:at]} {new_field}: __typename{query[at:]}"
        return orjson.dumps({"query": query, "variables": variables}) if query else None

    def request(self, shape: Shape) -> str | None:
        """Return the request for a shape; None if this server cannot be asked for it."""
        query, variables = self._words(shape)
        return load.request_text(self.server, query, variables, token=self.token) if query else None

    def _words(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        if self.name != _THEIRS:
            return shape.query, shape.variables
        query = THEIRS.get(shape.name, "")
        return query, THEIR_VARIABLES.get(shape.name, shape.variables if "$slug" in query else {})


def run(cluster: BenchCluster) -> None:
    """Measure each query of the corpus on each side in turn, the worst ratio first."""
    postgraphile.install()
    recreate_database(cluster, _DATABASE)
    large_dataset.fill(cluster, _DATABASE)
    with _run_sides(cluster) as sides:
        if differences := [text for shape in CORPUS for text in _find_differences(sides, shape)]:
            raise SystemExit("\n".join(differences))
        for number in range(cluster.rounds + 1):
            print(f"round {number} of {cluster.rounds}", file=sys.stderr, flush=True)
            for shape in CORPUS:
                _measure(cluster, sides, shape, counts=number > 0)
        for connections in _CONNECTIONS:
            _print_rates(cluster, sides, connections)
        _print_first_seen(sides)
        _print_statements(cluster, sides)


@contextmanager
def _run_sides(cluster: BenchCluster) -> Iterator[list[_Side]]:
    with ExitStack() as stack:
        ours = stack.enter_context(run_server(cluster, _DATABASE))
        sides = [_Side(_OURS, ours), _Side(_SIGNED_IN, ours, _create_session(cluster))]
        sides.append(_Side(_THEIRS, stack.enter_context(postgraphile.run(cluster, _DATABASE))))
        if (other := os.environ.get("BENCH_OTHER")) is not None:
            server = run_server(cluster, _DATABASE, _OTHER_COMMAND, {"PYTHONPATH": other})
            sides.append(_Side(_OTHER, stack.enter_context(server)))
        yield sides


def _create_session(cluster: BenchCluster) -> str:
    """Create a session of a person of the data set; return its token."""
    token = "cws_" + secrets.token_urlsafe(32)
    with psycopg.connect(cluster.database_url(_DATABASE), autocommit=True) as owner:
        owner.execute(
            "INSERT INTO token (id, user_id, kind, token_hash, expires_at) SELECT gen_random_uuid(), id,"
            " 'SESSION', %s, now() + interval '1 day' FROM collective WHERE slug = 'large-person-7'",
            [hash_token(token)],
        )
    return token


def _find_differences(sides: list[_Side], shape: Shape) -> Iterator[str]:
    """Find where our servers differ, and where PostGraphile's lists have other lengths than ours."""
    answers = {
        side.name: load.ask(side.server, body, token=side.token)
        for side in sides
        if (body := side.body(shape)) is not None
    }
    ours = answers[_OURS]
    if _OTHER in answers and answers[_OTHER] != ours:
        yield f"Not the same: {shape.name}"
    if _THEIRS in answers and shape.has_same_lists:
        our_lists, their_lists = list_lengths(ours), list_lengths(answers[_THEIRS])
        if our_lists != their_lists:
            yield f"Lists of {our_lists} and {their_lists} rows: {shape.name}"


def _measure(cluster: BenchCluster, sides: list[_Side], shape: Shape, *, counts: bool) -> None:
    """Put load on each side in turn; the first round warms up and does not count."""
    seconds = cluster.seconds / 4
    for connections in _CONNECTIONS:
        for side in sides:
            if (text := side.request(shape)) is None:
                continue
            order = LoadOrder(side.server.host, side.server.port, text, connections, seconds, seconds / 5)
            result = load.run_load(order)
            if counts:
                side.results.setdefault((shape.name, connections), []).append(result)


def _rates(side: _Side, shape: Shape, connections: int) -> list[float]:
    return [result.per_second for result in side.results.get((shape.name, connections), [])]


def _print_rates(cluster: BenchCluster, sides: list[_Side], connections: int) -> None:
    ours, signed_in, *others = sides
    rows, medians = [], []
    for shape in CORPUS:
        rates = _rates(ours, shape, connections)
        by_time = markdown_tables.compute_ratios(rates, _rates(signed_in, shape, connections))
        cells = [
            shape.name,
            markdown_tables.format_spread(rates, ".0f"),
            markdown_tables.format_spread(by_time),
        ]
        worst = float("inf")
        for other in others:
            their_rates = _rates(other, shape, connections)
            if not their_rates:
                cells.append("cannot ask")
                continue
            ratios = markdown_tables.compute_ratios(rates, their_rates)
            cells.append(markdown_tables.format_spread(ratios))
            if other.name == _THEIRS:
                worst = median(ratios)
                medians.append(worst)
        rows.append((worst, cells))
    reached = sum(one >= _MIN_SHAPE for one in medians)
    markdown_tables.print_table(
        f"The corpus at {connections} connections, requests a second",
        [
            "query",
            "ours",
            f"signed in ÷ anonymous, by time ≤ {_MAX_SIGNED_IN}",
            *(f"ours ÷ {o.name}" for o in others),
        ],
        [cells for _, cells in sorted(rows)],
        f"{cluster.rounds} interleaved rounds. {reached} of {len(medians)} shapes reach {_MIN_SHAPE} times"
        f" PostGraphile; their median is {median(medians):.2f} (target {_MIN_MEDIAN}).",
    )


def _print_first_seen(sides: list[_Side]) -> None:
    """Ask each side for each query with a field that no request had before, in turn."""
    numbers = count(1)
    rows, medians = [], []
    for shape in CORPUS:
        seconds: dict[str, list[float]] = {}
        for _ in range(_NEW_REQUESTS):
            for side in sides:
                if (body := side.body(shape, new_field=f"new{next(numbers)}")) is not None:
                    started = time.perf_counter()
                    load.ask(side.server, body, token=side.token)
                    seconds.setdefault(side.name, []).append(time.perf_counter() - started)
        times = [1000 * median(seconds[side.name]) if side.name in seconds else None for side in sides]
        if None not in times:
            medians.append(times)
        rows.append([shape.name, *("cannot ask" if each is None else f"{each:.1f}" for each in times)])
    rows.append(
        [
            "median of those that all can answer",
            *(f"{median(each):.1f}" for each in zip(*medians, strict=True)),
        ]
    )
    markdown_tables.print_table(
        "Documents of the corpus seen for the first time, p50 in ms",
        ["query", *(side.name for side in sides)],
        rows,
        f"{_NEW_REQUESTS} requests a query and side, in turn, one at a time; each selects a field under"
        " a name of its own, so that nothing prepared serves it.",
    )


def _print_statements(cluster: BenchCluster, sides: list[_Side]) -> None:
    execute(cluster, "postgres", "ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
    rows = [[shape.name, *(_count_statements(cluster, side, shape) for side in sides)] for shape in CORPUS]
    execute(cluster, "postgres", "ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")
    markdown_tables.print_table(
        "Statements of the corpus",
        ["query", *(side.name for side in sides)],
        rows,
        "Statements of a request + those that begin or end a transaction.",
    )


def _count_statements(cluster: BenchCluster, side: _Side, shape: Shape) -> str:
    """Count the statements of a request: the fewest of three, since background work adds some."""
    if (body := side.body(shape)) is None:
        return ""
    counts = []
    for _ in range(3):
        at = cluster.log.stat().st_size
        load.ask(side.server, body, token=side.token)
        time.sleep(0.05)
        words = logged_since(cluster, at)
        control = sum(word in CONTROL for word in words)
        counts.append((len(words) - control, control))
    return "{} + {}".format(*min(counts))
