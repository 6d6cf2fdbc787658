"""Incognito gifts: what can be given without showing the giver. Who may know them is in `visibility`."""

from models import Collective, Tier
from models.enums import CollectiveType, TierType
from services.core.errors import Invalid


def require_allowed(giver: Collective, tier: Tier | None) -> None:
    """Require that a person gives, and nothing that registers them by name; the database does, too.

    Raises:
        Invalid: a collective gives, whose books are public, or the gift pays for a ticket.
    """
    if giver.type != CollectiveType.USER:
        raise Invalid(
            "Only a person can give incognito: the books of a collective are public. Leave this out.",
            field="isIncognito",
        )
    if tier is not None and tier.type == TierType.TICKET:
        raise Invalid(
            "A ticket registers its holder by name and cannot be paid incognito. Leave this out.",
            field="isIncognito",
        )
