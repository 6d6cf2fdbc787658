"""A side of a movement of money or time."""

from dataclasses import dataclass

from models import Collective


@dataclass(frozen=True)
class Party:
    """One side of a movement; without a host, its money is outside the ledger."""

    collective: Collective | None
    host: Collective | None = None
    balance_currency: str | None = None
    """Currency of its balance, if that is not the collective's own."""

    @property
    def currency(self) -> str:
        """Currency of its balance. Only a party with a collective has one."""
        assert self.collective is not None
        return self.balance_currency or self.collective.currency


OUTSIDE = Party(None)
