"""A side of a movement of money or time."""

from dataclasses import dataclass

from models import Collective


@dataclass(frozen=True)
class Party:
    """One side of a movement. Without a host, its money is outside the ledger."""

    collective: Collective | None
    host: Collective | None = None
    kept_in: str | None = None
    """The currency of its balance, where that is not its own."""

    @property
    def currency(self) -> str:
        """The currency of its balance; only a collective has one."""
        assert self.collective is not None
        return self.kept_in or self.collective.currency


OUTSIDE = Party(None)
