"""Compare our server with plain Strawberry and PostGraphile 5 on the same data and machine, in turn."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

import orjson

from bench import compared_queries, large_dataset, load, markdown_tables, postgraphile
from bench.client import LoadOrder, LoadResult
from bench.compared_queries import Cursors, Question
from bench.postgres_cluster import BenchCluster, execute, recreate_database, require_clean
from bench.server_process import RunningServer, run_server
from bench.statement_counts import CONTROL, logged_since

_DATABASE = "servers"
_PLAIN_COMMAND = (sys.executable, "-m", "bench.plain_strawberry")
_CONNECTIONS = (4, 64)
_OURS, _PLAIN, _CACHED, _THEIRS = "ours", "plain Strawberry", "Strawberry with its caches", "PostGraphile 5"
_MAX_MIB = 200
_MAX_TAIL = 4.0
_MAX_UNSEEN = 1.5


@dataclass
class _Side:
    """A server, and the load results of its rounds by question and connections."""

    name: str
    server: RunningServer
    results: dict[tuple[str, int], list[LoadResult]] = field(default_factory=dict)

    def request(self, question: Question, *, unseen: bool = False) -> str:
        """Return the request for a question; `unseen` gives each operation a new name."""
        theirs = self.name == _THEIRS
        text = question.theirs if theirs else question.ours
        if unseen:
            text = "query N0000000000 " + text.removeprefix("query").lstrip()
        return load.request_text(
            self.server, text, question.their_variables if theirs else question.variables
        )

    def rates(self, key: tuple[str, int]) -> list[float]:
        """Return requests a second of each round."""
        return [one.per_second for one in self.results[key]]


def run(cluster: BenchCluster) -> None:
    """Compare the servers on each question, at 4 and 64 connections."""
    postgraphile.install()
    recreate_database(cluster, _DATABASE)
    large_dataset.fill(cluster, _DATABASE)
    with _run_servers(cluster) as sides:
        questions = compared_queries.build_questions(
            compared_queries.our_cursors(cluster, _DATABASE), _their_cursors(sides[-1])
        )
        for question in questions:
            _require_same(sides, question)
        client = load.client_capacity(64, cluster.seconds / 2)
        _measure(cluster, sides, questions, _CONNECTIONS, unseen=False)
        _print_rates(cluster, sides, questions, client)
        _print_times(sides, questions)
        _measure(cluster, sides, questions[:4], (1,), unseen=True)
        _print_unseen(sides, questions[:4])
        _print_size(cluster, sides, questions)


@contextmanager
def _run_servers(cluster: BenchCluster) -> Iterator[list[_Side]]:
    with ExitStack() as stack:
        yield [
            _Side(_OURS, stack.enter_context(run_server(cluster, _DATABASE))),
            _Side(_PLAIN, stack.enter_context(run_server(cluster, _DATABASE, _PLAIN_COMMAND))),
            _Side(
                _CACHED, stack.enter_context(run_server(cluster, _DATABASE, [*_PLAIN_COMMAND, "--caches"]))
            ),
            _Side(_THEIRS, stack.enter_context(postgraphile.run(cluster, _DATABASE))),
        ]


def _their_cursors(side: _Side) -> Cursors:
    return Cursors(
        *(
            load.ask(side.server, orjson.dumps({"query": text, "variables": variables}))["page"]["pageInfo"][
                "endCursor"
            ]
            for text, variables in compared_queries.THEIR_CURSORS
        )
    )


def _require_same(sides: list[_Side], question: Question) -> None:
    """Require that every server answers a question with the same rows and values.

    Raises:
        SystemExit: the answers differ.
    """
    answers = [
        load.ask(side.server, side.request(question).partition("\r\n\r\n")[2].encode()) for side in sides
    ]
    ours, *plain, theirs = answers
    sizes = [compared_queries.list_lengths(answer) for answer in answers]
    if question.fewer:
        sizes.pop()
    fewer = compared_queries.count_values(ours) - compared_queries.count_values(theirs)
    if any(p != ours for p in plain) or fewer != question.fewer:
        raise SystemExit(f"Not the same: {question.name}, PostGraphile has {fewer} values fewer")
    if any(size != sizes[0] for size in sizes):
        raise SystemExit(f"Lists of different lengths: {question.name}")


def _measure(
    cluster: BenchCluster,
    sides: list[_Side],
    questions: list[Question],
    connections: tuple[int, ...],
    *,
    unseen: bool,
) -> None:
    """Put load on each server in turn; the first round warms up and does not count."""
    seconds = cluster.seconds / 4 if cluster.is_quick else cluster.seconds
    for number in range(cluster.rounds + 1):
        print(f"round {number} of {cluster.rounds}", file=sys.stderr, flush=True)
        for question in questions:
            for count in connections:
                for side in sides:
                    order = LoadOrder(
                        side.server.host,
                        side.server.port,
                        side.request(question, unseen=unseen),
                        count,
                        seconds,
                        seconds / 5,
                        is_unique=unseen,
                    )
                    result = load.run_load(order)
                    if number:
                        side.results.setdefault((question.name, count), []).append(result)


def _print_rates(cluster: BenchCluster, sides: list[_Side], questions: list[Question], client: float) -> None:
    ours, *others = sides
    rates, ratios = [], []
    for question in questions:
        for count in _CONNECTIONS:
            key = (question.name, count)
            start = [question.name, str(count)]
            rates.append([*start, *(markdown_tables.format_spread(side.rates(key), ".0f") for side in sides)])
            ratios.append(
                [
                    *start,
                    *(
                        markdown_tables.format_spread(
                            markdown_tables.compute_ratios(ours.rates(key), o.rates(key))
                        )
                        for o in others
                    ),
                ]
            )
    head = ["query", "connections"]
    markdown_tables.print_table("Requests a second", [*head, *(side.name for side in sides)], rows=rates)
    markdown_tables.print_table(
        "Ours ÷ theirs, requests a second",
        [*head, *(side.name for side in others)],
        ratios,
        f"Medians and ranges of {cluster.rounds} interleaved rounds. The client can send {client:,.0f}"
        f" requests a second to a server that does nothing. Audit: {require_clean(cluster, _DATABASE)}.",
    )


def _print_times(sides: list[_Side], questions: list[Question]) -> None:
    rows = []
    for question in questions:
        for count in _CONNECTIONS:
            row = [question.name, str(count)]
            for side in sides:
                result = side.results[question.name, count]
                row.append(f"{median(f.p50_ms for f in result):.1f} / {median(f.p99_ms for f in result):.1f}")
            tail = median(f.p99_ms / f.p50_ms for f in sides[0].results[question.name, count])
            errors = ", ".join(str(sum(f.errors for f in s.results[question.name, count])) for s in sides)
            reached = f"{tail:.1f}" + ("" if tail <= _MAX_TAIL else " **no**")
            rows.append([*row, reached, errors])
    markdown_tables.print_table(
        "Time of a request, p50 / p99 in ms",
        ["query", "connections", *(s.name for s in sides), f"ours, p99 ÷ p50 ≤ {_MAX_TAIL:g}", "errors"],
        rows,
        "Medians of the rounds; errors are those of the servers in their order.",
    )


def _print_unseen(sides: list[_Side], questions: list[Question]) -> None:
    rows = []
    ours, plain, *_ = sides
    for question in questions:
        key = (question.name, 1)
        medians = {side.name: [f.p50_ms for f in side.results[key]] for side in sides}
        ratio = markdown_tables.compute_ratios(medians[ours.name], medians[plain.name])
        reached = "yes" if median(ratio) <= _MAX_UNSEEN else "**no**"
        rows.append(
            [
                question.name,
                *(markdown_tables.format_spread(m) for m in medians.values()),
                markdown_tables.format_spread(ratio),
                reached,
            ]
        )
    markdown_tables.print_table(
        "A document seen for the first time, p50 in ms",
        ["query", *(s.name for s in sides), "ours ÷ plain", f"≤ {_MAX_UNSEEN}"],
        rows,
        "Each request gives its operation a new name; one connection.",
    )


def _statements(cluster: BenchCluster, side: _Side, question: Question) -> str:
    """Count the statements of a request: the fewest of five, since background work adds some."""
    body = side.request(question).partition("\r\n\r\n")[2].encode()
    counts = []
    for number in range(5):
        at = cluster.log.stat().st_size
        load.ask(side.server, body)
        time.sleep(0.05)
        words = logged_since(cluster, at)
        control = sum(word in CONTROL for word in words)
        counts.append((len(words) - control, control))
        time.sleep(0.15 * number)  # the background work runs once a second: do not meet it every time
    return "{} + {}".format(*min(counts))


def _print_size(cluster: BenchCluster, sides: list[_Side], questions: list[Question]) -> None:
    """Print memory after the run and the logged statements of one request."""
    memory = ["resident memory, MiB", *(f"{side.server.resident_mib:.0f}" for side in sides)]
    execute(cluster, "postgres", "ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
    counted = [
        [f"statements: {question.name}", *(_statements(cluster, s, question) for s in sides)]
        for question in questions
    ]
    execute(cluster, "postgres", "ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")
    markdown_tables.print_table(
        "Memory and SQL statements",
        ["", *(side.name for side in sides)],
        [memory, *counted],
        f"Memory after the run; the target of ours is {_MAX_MIB} MiB. Statements of one request + those that"
        " begin or end a transaction.",
    )
