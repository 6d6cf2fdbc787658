"""Our server beside plain Strawberry and PostGraphile 5: same data and machine, a process each, in turn."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from urllib.request import Request, urlopen

import orjson

from bench import compared_queries, large_dataset, load, markdown_tables, postgraphile
from bench.client import Found, Order
from bench.compared_queries import Cursors, Question
from bench.postgres_cluster import Place, execute, fresh_database, require_clean
from bench.server_process import Served, serving
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
    """A server, and what each of its rounds found, by question and connections."""

    name: str
    served: Served
    found: dict[tuple[str, int], list[Found]] = field(default_factory=dict)

    def request(self, question: Question, *, unseen: bool = False) -> str:
        """Return a question in this server's words; `unseen` names the operation by a number that changes."""
        theirs = self.name == _THEIRS
        text = question.theirs if theirs else question.ours
        if unseen:
            text = "query N0000000000 " + text.removeprefix("query").lstrip()
        return load.request(self.served, text, question.their_variables if theirs else question.variables)

    def rates(self, key: tuple[str, int]) -> list[float]:
        """Return requests a second of each round."""
        return [one.per_second for one in self.found[key]]


def run(place: Place) -> None:
    """Compare the servers on each question, at 4 and 64 connections."""
    postgraphile.install()
    fresh_database(place, _DATABASE)
    large_dataset.fill(place, _DATABASE)
    with _running(place) as sides:
        asked = compared_queries.all_of(
            compared_queries.our_cursors(place, _DATABASE), _their_cursors(sides[-1])
        )
        for question in asked:
            _require_same(sides, question)
        client = load.capacity(64, place.seconds / 2)
        _measure(place, sides, asked, _CONNECTIONS, unseen=False)
        _show_rates(place, sides, asked, client)
        _show_times(sides, asked)
        _measure(place, sides, asked[:4], (1,), unseen=True)
        _show_unseen(sides, asked[:4])
        _show_size(place, sides, asked)


@contextmanager
def _running(place: Place) -> Iterator[list[_Side]]:
    with ExitStack() as stack:
        yield [
            _Side(_OURS, stack.enter_context(serving(place, _DATABASE))),
            _Side(_PLAIN, stack.enter_context(serving(place, _DATABASE, _PLAIN_COMMAND))),
            _Side(_CACHED, stack.enter_context(serving(place, _DATABASE, [*_PLAIN_COMMAND, "--caches"]))),
            _Side(_THEIRS, stack.enter_context(postgraphile.running(place, _DATABASE))),
        ]


def _ask(side: _Side, body: bytes) -> Any:
    """Send one request by the standard library; return the data.

    Raises:
        SystemExit: the answer has errors.
    """
    url = f"http://{side.served.host}:{side.served.port}/graphql"
    with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=60) as response:
        answer = orjson.loads(response.read())
    if "errors" in answer:
        raise SystemExit(f"{side.name} answers {answer['errors']}")
    return answer["data"]


def _their_cursors(side: _Side) -> Cursors:
    return Cursors(
        *(
            _ask(side, orjson.dumps({"query": text, "variables": variables}))["found"]["pageInfo"][
                "endCursor"
            ]
            for text, variables in compared_queries.THEIR_CURSORS
        )
    )


def _require_same(sides: list[_Side], question: Question) -> None:
    """Let through a question that all answer with the same rows and values.

    Raises:
        SystemExit: they do not.
    """
    answers = [_ask(side, side.request(question).partition("\r\n\r\n")[2].encode()) for side in sides]
    ours, *plain, theirs = answers
    sizes = [compared_queries.lists_in(answer) for answer in answers]
    if question.fewer:
        sizes.pop()
    fewer = compared_queries.values_in(ours) - compared_queries.values_in(theirs)
    if any(p != ours for p in plain) or fewer != question.fewer:
        raise SystemExit(f"Not the same: {question.name}, {fewer} values fewer")
    if any(size != sizes[0] for size in sizes):
        raise SystemExit(f"Lists of other lengths: {question.name}")


def _measure(
    place: Place, sides: list[_Side], asked: list[Question], connections: tuple[int, ...], *, unseen: bool
) -> None:
    """Ask each question of each server in turn; the first round warms up and does not count."""
    seconds = place.seconds / 4 if place.is_quick else place.seconds
    for number in range(place.rounds + 1):
        print(f"round {number} of {place.rounds}", file=sys.stderr, flush=True)
        for question in asked:
            for count in connections:
                for side in sides:
                    order = Order(
                        side.served.host,
                        side.served.port,
                        side.request(question, unseen=unseen),
                        count,
                        seconds,
                        seconds / 5,
                        is_unique=unseen,
                    )
                    found = load.offer(order)
                    if number:
                        side.found.setdefault((question.name, count), []).append(found)


def _show_rates(place: Place, sides: list[_Side], asked: list[Question], client: float) -> None:
    ours, *others = sides
    rates, ratios = [], []
    for question in asked:
        for count in _CONNECTIONS:
            key = (question.name, count)
            start = [question.name, str(count)]
            rates.append([*start, *(markdown_tables.spread(side.rates(key), ".0f") for side in sides)])
            ratios.append(
                [
                    *start,
                    *(
                        markdown_tables.spread(markdown_tables.ratios(ours.rates(key), o.rates(key)))
                        for o in others
                    ),
                ]
            )
    head = ["query", "connections"]
    markdown_tables.show("Requests a second", [*head, *(side.name for side in sides)], rows=rates)
    markdown_tables.show(
        "Ours ÷ theirs, requests a second",
        [*head, *(side.name for side in others)],
        ratios,
        f"Medians and ranges of {place.rounds} interleaved rounds. The client can ask {client:,.0f} times a"
        f" second of a server that does nothing. Audit: {require_clean(place, _DATABASE)}.",
    )


def _show_times(sides: list[_Side], asked: list[Question]) -> None:
    rows = []
    for question in asked:
        for count in _CONNECTIONS:
            row = [question.name, str(count)]
            for side in sides:
                found = side.found[question.name, count]
                row.append(f"{median(f.p50_ms for f in found):.1f} / {median(f.p99_ms for f in found):.1f}")
            tail = median(f.p99_ms / f.p50_ms for f in sides[0].found[question.name, count])
            errors = ", ".join(str(sum(f.errors for f in s.found[question.name, count])) for s in sides)
            reached = f"{tail:.1f}" + ("" if tail <= _MAX_TAIL else " **no**")
            rows.append([*row, reached, errors])
    markdown_tables.show(
        "Time of a request, p50 / p99 in ms",
        ["query", "connections", *(s.name for s in sides), f"ours, p99 ÷ p50 ≤ {_MAX_TAIL:g}", "errors"],
        rows,
        "Medians of the rounds; errors are those of the servers in their order.",
    )


def _show_unseen(sides: list[_Side], asked: list[Question]) -> None:
    rows = []
    ours, plain, *_ = sides
    for question in asked:
        key = (question.name, 1)
        medians = {side.name: [f.p50_ms for f in side.found[key]] for side in sides}
        ratio = markdown_tables.ratios(medians[ours.name], medians[plain.name])
        reached = "yes" if median(ratio) <= _MAX_UNSEEN else "**no**"
        rows.append(
            [
                question.name,
                *(markdown_tables.spread(m) for m in medians.values()),
                markdown_tables.spread(ratio),
                reached,
            ]
        )
    markdown_tables.show(
        "A document seen for the first time, p50 in ms",
        ["query", *(s.name for s in sides), "ours ÷ plain", f"≤ {_MAX_UNSEEN}"],
        rows,
        "Each request names its operation anew; one connection.",
    )


def _statements(place: Place, side: _Side, question: Question) -> str:
    """Count the statements of a request: the fewest of some, as the server has work of its own in between."""
    body = side.request(question).partition("\r\n\r\n")[2].encode()
    counts = []
    for number in range(5):
        at = place.log.stat().st_size
        _ask(side, body)
        time.sleep(0.05)
        words = logged_since(place, at)
        control = sum(word in CONTROL for word in words)
        counts.append((len(words) - control, control))
        time.sleep(0.15 * number)  # that work is done once a second: not to meet it each time
    return "{} + {}".format(*min(counts))


def _show_size(place: Place, sides: list[_Side], asked: list[Question]) -> None:
    """Show memory as the run left it, and count the statements of one request, as PostgreSQL logs them."""
    memory = ["resident memory, MiB", *(f"{side.served.resident_mib:.0f}" for side in sides)]
    execute(place, "postgres", "ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
    counted = [
        [f"statements: {question.name}", *(_statements(place, s, question) for s in sides)]
        for question in asked
    ]
    execute(place, "postgres", "ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")
    markdown_tables.show(
        "Memory and SQL statements",
        ["", *(side.name for side in sides)],
        [memory, *counted],
        f"Memory after the run; the target of ours is {_MAX_MIB} MiB. Statements of one request + those that"
        " begin or end a transaction.",
    )
