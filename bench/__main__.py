"""Run the benchmarks: `python -m bench [--quick] [name …]`."""

import argparse
from collections.abc import Callable

from bench import (
    approvals,
    audit,
    balances,
    compare_servers,
    corpus,
    documents,
    doors,
    earlier,
    executors,
    feed,
    gifts,
    growth,
    hours,
    imports,
    mutations,
    posting,
    processes,
    profile,
    restore,
    statement_counts,
)
from bench.postgres_cluster import BenchCluster, start_cluster

BENCHES: dict[str, Callable[[BenchCluster], None]] = {
    "posting": posting.run,
    "approvals": approvals.run,
    "mutations": mutations.run,
    "balances": balances.run,
    "feed": feed.run,
    "hours": hours.run,
    "gifts": gifts.run,
    "audit": audit.run,
    "imports": imports.run,
    "statements": statement_counts.run,
    "documents": documents.run,
    "executors": executors.run,
    "profile": profile.run,
    "corpus": corpus.run,
    "processes": processes.run,
    "doors": doors.run,
    "growth": growth.run,
    "restore": restore.run,
    "servers": compare_servers.run,  # last: the first run needs the npm registry
    "earlier": earlier.run,  # needs the history of the repository, and the package index
}


def main() -> None:
    """Run the named benchmarks, or all of them."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="short rounds, to check that the benchmarks work"
    )
    parser.add_argument("name", nargs="*", choices=[[], *BENCHES], help=", ".join(BENCHES))
    parser.add_argument("--rounds", type=int, help="rounds of A, B, A, B …; one more round warms up")
    parser.add_argument("--seconds", type=float, help="seconds for each side of a round")
    options = parser.parse_args()
    with start_cluster(is_quick=options.quick, rounds=options.rounds, seconds=options.seconds) as cluster:
        for name in options.name or BENCHES:
            BENCHES[name](cluster)


if __name__ == "__main__":
    main()
