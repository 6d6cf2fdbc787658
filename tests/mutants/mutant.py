"""What a mutant is."""

from dataclasses import dataclass

FUNCTIONS = "models/migrations/sql/functions"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One edit of one file, and the tests that must notice it."""

    name: str
    path: str
    pattern: str
    """A regular expression; its first match is replaced."""
    replacement: str
    tests: tuple[str, ...]

    @property
    def is_sql(self) -> bool:
        """True if the edit is in the database's functions and triggers."""
        return self.path.endswith(".sql")
