"""People as users of the API: languages, tokens, proofs, scopes and mails."""

from enum import StrEnum


class Locale(StrEnum):
    """A language of mails and pages."""

    EN = "EN"
    """The English language."""
    DE = "DE"
    """The German language."""
    FR = "FR"
    """The French language."""
    ES = "ES"
    """The Spanish language."""


class TokenKind(StrEnum):
    """Kind of a bearer token."""

    SESSION = "SESSION"
    """The session of a browser or client, with every scope."""
    ACCESS = "ACCESS"
    """Created by the user for a program, with the chosen scopes."""


class EmailTokenPurpose(StrEnum):
    """Purpose of a mailed token."""

    VERIFY = "VERIFY"
    """Proves that the reader owns the address."""
    RESET = "RESET"
    """Lets the reader set a new password."""


class Proof(StrEnum):
    """A way in which a person shows who they are."""

    PASSWORD = "PASSWORD"
    """The password, where the account has no second factor."""
    TOTP = "TOTP"
    """A code of an authenticator app."""
    PASSKEY = "PASSKEY"
    """A passkey or security key."""
    RECOVERY_CODE = "RECOVERY_CODE"
    """One of the recovery codes, each of which works once."""


class ChallengePurpose(StrEnum):
    """What a challenge is answered for."""

    SIGN_IN = "SIGN_IN"
    """The second step of a sign-in."""
    PASSKEY_SIGN_IN = "PASSKEY_SIGN_IN"
    """A sign-in with a passkey, by whoever has it."""
    PASSKEY_REGISTRATION = "PASSKEY_REGISTRATION"
    """A new passkey."""
    PASSKEY_CONFIRMATION = "PASSKEY_CONFIRMATION"
    """A factor of a person who is known already."""


class Scope(StrEnum):
    """Operations that an access token allows."""

    READ = "READ"
    """Read everything that the user may read."""
    COLLECTIVES = "COLLECTIVES"
    """Create and edit collectives, members and applications."""
    ORDERS = "ORDERS"
    """Create orders and move money."""
    APPROVE = "APPROVE"
    """Approve, reject, pay and refund orders."""
    CALENDAR = "CALENDAR"
    """Subscribe to a calendar of the user's events at `/my-calendar.ics`, and nothing else."""


class Topic(StrEnum):
    """Topic of a mail, which a person can mute."""

    MONEY = "MONEY"
    """Donations, expenses and refunds."""
    HOURS = "HOURS"
    """Hours requested, approved and rejected."""
    EVENTS = "EVENTS"
    """Registrations, changes and messages of events."""
    REDEMPTIONS = "REDEMPTIONS"
    """Offers, redemptions and cash-outs."""
    MEMBERS = "MEMBERS"
    """Invitations and host applications."""
