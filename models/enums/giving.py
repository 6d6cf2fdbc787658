"""Tiers, goals and gifts that repeat."""

from enum import StrEnum


class TierType(StrEnum):
    """Kind of what a tier gives in return."""

    DONATION = "DONATION"
    """Nothing but thanks."""
    MEMBERSHIP = "MEMBERSHIP"
    """Membership in the collective."""
    TICKET = "TICKET"
    """A ticket; that of an event registers the giver."""
    PRODUCT = "PRODUCT"
    """A product of the collective."""


class TierPricing(StrEnum):
    """Side that chooses the amount of a gift in a tier."""

    FIXED = "FIXED"
    """The collective: each costs the same."""
    FLEXIBLE = "FLEXIBLE"
    """The giver, from a minimum on."""


class GiftInterval(StrEnum):
    """Time from one charge of a recurring gift to the next."""

    MONTH = "MONTH"
    """Every calendar month."""
    YEAR = "YEAR"
    """Every calendar year."""


class GiftStatus(StrEnum):
    """Status of a recurring gift."""

    PENDING = "PENDING"
    """By card, and the first payment has not come; not charged until then."""
    ACTIVE = "ACTIVE"
    """Charged on its next day."""
    PAST_DUE = "PAST_DUE"
    """The last charge was refused; it is tried again."""
    PAUSED = "PAUSED"
    """Not charged until it is resumed."""
    CANCELLED = "CANCELLED"
    """Ended by one of the two sides, the host or the platform."""
    ENDED = "ENDED"
    """Ended on the day that the payer chose."""


class GiftParty(StrEnum):
    """Party that paused a recurring gift."""

    PAYER = "PAYER"
    """The giver itself."""
    PAYEE = "PAYEE"
    """The receiving collective."""
    HOST = "HOST"
    """The host of the receiver."""
    PLATFORM = "PLATFORM"
    """The platform, because the gift could not go on."""


class GiftDirection(StrEnum):
    """Side of recurring gifts on which a collective is."""

    GIVEN = "GIVEN"
    """The collective gives."""
    RECEIVED = "RECEIVED"
    """The collective receives."""


class GiftNotice(StrEnum):
    """What ended or paused a recurring gift without anybody's wish."""

    ARCHIVED = "ARCHIVED"
    """One of the two sides was archived."""
    HOST_LEFT = "HOST_LEFT"
    """The payee or the payer left the host that held its money."""
    HOST_SUSPENDED = "HOST_SUSPENDED"
    """The host of one of the two sides was suspended."""
    USER_SUSPENDED = "USER_SUSPENDED"
    """One of the two sides is a person who was suspended."""


class GoalKind(StrEnum):
    """Kind of amount that a goal counts."""

    BALANCE = "BALANCE"
    """Present balance in the currency of the goal."""
    RAISED = "RAISED"
    """All gifts and added funds so far, before fees and less refunds."""
