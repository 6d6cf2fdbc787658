"""Mutants of the money path in Python, listed in money_path.txt."""

from tests.mutants.mutant import Mutant
from tests.mutants.sql_mutants import read_edits


def python_mutants() -> list[Mutant]:
    """Return the mutants of services and of the unit of work."""
    return [
        Mutant(name=name, path=path, pattern=pattern, replacement=replacement, tests=tests)
        for name, (path, pattern, replacement, tests) in read_edits("money_path.txt").items()
    ]
