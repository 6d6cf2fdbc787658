"""Where an operation comes from, for the audit log of its acts and the limits of its mails."""

from dataclasses import dataclass, field
from uuid import UUID

from models.enums import Locale
from services.core.networks import normalize_address
from services.core.settings import Settings


@dataclass(frozen=True)
class ActOrigin:
    """By which mutation, and from which network address, an operation acts."""

    mutation: str
    """Its name; several of one operation with commas."""
    address: str

    @property
    def parameters(self) -> dict[str, str]:
        """Values of the parameters of `act_origin.naming`."""
        network = normalize_address(self.address) if self.address else ""
        return {"act_mutation": self.mutation, "act_network": network}


@dataclass(frozen=True)
class MailOrigin:
    """Who causes the mails of a session, from which network address, and the figures that hold for them."""

    sender_id: UUID | None = None
    address: str = ""
    settings: Settings = field(default_factory=Settings)
    locale: Locale | None = None
    """The language that the sender's browser asks for."""
