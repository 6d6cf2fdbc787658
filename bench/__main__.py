"""Measure: `python -m bench [--quick] [name …]`."""

import argparse
from collections.abc import Callable

from bench import (
    approvals,
    balances,
    compare_servers,
    executors,
    feed,
    hours,
    posting,
    profile,
    statement_counts,
)
from bench.postgres_cluster import Place, opened

BENCHES: dict[str, Callable[[Place], None]] = {
    "posting": posting.run,
    "approvals": approvals.run,
    "balances": balances.run,
    "feed": feed.run,
    "hours": hours.run,
    "statements": statement_counts.run,
    "executors": executors.run,
    "profile": profile.run,
    "servers": compare_servers.run,  # last, for it needs the npm registry the first time
}


def main() -> None:
    """Run the benches that are named, or all."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds: to see that it works")
    parser.add_argument("name", nargs="*", choices=[[], *BENCHES], help=", ".join(BENCHES))
    parser.add_argument("--rounds", type=int, help="of A, B, A, B …; one more warms up")
    parser.add_argument("--seconds", type=float, help="that each side of a round runs")
    options = parser.parse_args()
    with opened(is_quick=options.quick, rounds=options.rounds, seconds=options.seconds) as place:
        for name in options.name or BENCHES:
            BENCHES[name](place)


if __name__ == "__main__":
    main()
