"""Time the refusal of hostile documents, beside parsing an ordinary document of as many tokens."""

import gc
import time
from collections.abc import Callable
from statistics import median

from graphql import parse

from bench import markdown_tables
from bench.postgres_cluster import BenchCluster
from schema.documents import token_count
from tests.schema.documents.hostile_documents import HOSTILE, refused_anew

_ROWS = 10
_TARGET_MS = 20
_ORDINARY = (
    "{" + "collectives(first: 20) { nodes { id name slug } } " * (token_count.MAX_TOKENS // 18 - 1) + "}"
)
"""As many tokens as a document may have; each row of the query has 18, of common lengths."""


def run(cluster: BenchCluster) -> None:
    """Print the slowest refusals."""
    gc.freeze()
    for text in HOSTILE.values():
        refused_anew(text)
    rounds: dict[str, list[float]] = {name: [] for name in HOSTILE}
    ordinary: list[float] = []
    for _ in range(cluster.rounds):
        ordinary.append(_measure_ms(lambda: parse(_ORDINARY)))
        for name, text in HOSTILE.items():
            rounds[name].append(_measure_ms(lambda text=text: refused_anew(text)))  # type: ignore[misc]
    slowest = sorted(rounds, key=lambda name: median(rounds[name]), reverse=True)[:_ROWS]
    markdown_tables.print_table(
        f"Refusal of hostile documents, CPU in ms; the {_ROWS} slowest of {len(HOSTILE)}",
        ("document", "refused", "÷ parsing an ordinary one of 1,500 tokens", f"under {_TARGET_MS} ms"),
        [
            (
                name,
                markdown_tables.format_spread(rounds[name], ".1f"),
                markdown_tables.format_spread(markdown_tables.compute_ratios(rounds[name], ordinary)),
                markdown_tables.format_verdict(_TARGET_MS, median(rounds[name])),
            )
            for name in slowest
        ],
    )


def _measure_ms(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return (time.process_time() - started) * 1_000
