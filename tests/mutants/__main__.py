"""`python -m tests.mutants`: try every mutant, or those named, and fail if no test notices one."""

import argparse
import sys
from collections.abc import Sequence

from tests.mutants.mutant import Mutant
from tests.mutants.python_mutants import python_mutants
from tests.mutants.runner import run
from tests.mutants.sql_mutants import sql_mutants

_HEAD = """# Mutants

Each mutant takes one guard of the database away, or one line of the money path in Python, and is noticed by
the tests beside it. [CONTRIBUTING.md](../CONTRIBUTING.md) tells how to try them.
Written by `python -m tests.mutants --table`.

| Mutant | Changes | Noticed by |
|---|---|---|"""


def to_table(mutants: Sequence[Mutant]) -> str:
    """Return a page of all mutants: what each changes, and the tests that notice it."""
    rows = []
    for mutant in mutants:
        tests = ", ".join(f"`{name.removeprefix('tests/')}`" for name in mutant.tests)
        rows.append(f"| {mutant.name} | `{mutant.path.split('/')[-1]}` | {tests} |")
    return "\n".join([_HEAD, *rows, ""])


def all_mutants() -> list[Mutant]:
    """Return the mutants of the database, then those of the Python code."""
    return [*sql_mutants(), *python_mutants()]


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--table", action="store_true", help="print docs/mutants.md and stop")
    parser.add_argument("--only", action="append", metavar="NAME", help="try this one; may be repeated")
    parser.add_argument("--seconds", type=float, default=120, help="time for each mutant")
    parser.add_argument("--minutes", type=float, default=120, help="time in all")
    arguments = parser.parse_args()
    mutants = all_mutants()
    if arguments.only:
        unknown = set(arguments.only) - {mutant.name for mutant in mutants}
        if unknown:
            parser.error(f"unknown: {', '.join(sorted(unknown))}")
        mutants = [mutant for mutant in mutants if mutant.name in arguments.only]
    if arguments.table:
        sys.stdout.write(to_table(mutants))
        return 0
    if arguments.list:
        for mutant in mutants:
            sys.stdout.write(f"{mutant.name:32} {mutant.path}\n")
        return 0
    return run(mutants, seconds=arguments.seconds, in_all=arguments.minutes * 60)


if __name__ == "__main__":
    sys.exit(main())
