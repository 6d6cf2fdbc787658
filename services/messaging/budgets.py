"""How much mail may be sent: by kind, by sender and network, and by who receives it.

Every mail enters the outbox by `mail_queue` in the database, which counts and decides by these figures.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from services.core.errors import RateLimited
from services.core.networks import normalize_address
from services.core.settings import Settings
from services.messaging.account_templates import ACCOUNT_TEMPLATES
from services.round_trips.operation_session import operation_of


class MailKind(StrEnum):
    """Why a mail is sent, which decides its budget and its lane."""

    ACCOUNT = "ACCOUNT"
    """Secures the recipient's account. A lane of its own; limited where it is asked for."""
    INVITATION = "INVITATION"
    """Goes to whomever the sender names."""
    MESSAGE = "MESSAGE"
    """Carries a text of the sender to people who share an event."""
    NOTICE = "NOTICE"
    """Reports an act to those whom it concerns."""


CHOSEN = frozenset({MailKind.INVITATION, MailKind.MESSAGE})
"""The kinds that a person decides to send, and that a budget of the sender may refuse."""
_INVITATIONS = (
    "invitation",
    "invite_volunteer_event_existing",
    "invite_volunteer_event_new",
    "change_event_coordinator",
    "hours_for_coordinator",
    "nonprofit_nominated",
)
_MESSAGES = ("coordinator_messaged", "volunteer_messaged", "volunteer_registered")

_KIND_BY_TEMPLATE: Mapping[str, MailKind] = MappingProxyType(
    {
        **dict.fromkeys(ACCOUNT_TEMPLATES, MailKind.ACCOUNT),
        **dict.fromkeys(_INVITATIONS, MailKind.INVITATION),
        **dict.fromkeys(_MESSAGES, MailKind.MESSAGE),
    }
)
UNLIMITED = 1_000_000_000
INVITATIONS_PER_RECIPIENT, INVITATIONS_PER_PAIR = 20, 3
MESSAGES_PER_RECIPIENT, MESSAGES_PER_PAIR = 50, 10
NOTICES_PER_PAIR = 100


class MailBudgetExceeded(RateLimited):
    """Too many mails; try again later."""

    def __init__(self, *, retry_after_seconds: int) -> None:
        """Keep the time to wait, and say it."""
        hours = -(-retry_after_seconds // 3600)
        super().__init__(
            f"Too many mails within a day. Try again in {retry_after_seconds} seconds, which is about {hours}"
            f" {'hour' if hours == 1 else 'hours'}.",
            field=(),
        )
        self.retry_after_seconds = retry_after_seconds


def find_kind(template: str) -> MailKind:
    """Return the kind of a template's mails."""
    return _KIND_BY_TEMPLATE.get(template, MailKind.NOTICE)


def mail_parameters(session: AsyncSession, template: str) -> dict[str, Any]:
    """Return what `mail_queue` is told of a template's mails beside the recipients."""
    origin = operation_of(session).mail_origin
    kind = find_kind(template)
    return {
        "kind": kind.value,
        "sender": origin.sender_id,
        "network": normalize_address(origin.address) if origin.address else "",
        "limits": _limits(kind, origin.settings),
    }


def _limits(kind: MailKind, settings: Settings) -> dict[str, int]:
    """Return the mails of a kind that are allowed within a day, by whom they are counted for."""
    sender, network, recipient, pair = {
        MailKind.ACCOUNT: (UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED),
        MailKind.INVITATION: (
            settings.mail_invitations_per_sender,
            settings.mail_invitations_per_network,
            INVITATIONS_PER_RECIPIENT,
            INVITATIONS_PER_PAIR,
        ),
        MailKind.MESSAGE: (
            settings.mail_messages_per_sender,
            settings.mail_messages_per_network,
            MESSAGES_PER_RECIPIENT,
            MESSAGES_PER_PAIR,
        ),
        MailKind.NOTICE: (UNLIMITED, UNLIMITED, settings.mail_notices_per_recipient, NOTICES_PER_PAIR),
    }[kind]
    return {
        "sender": sender,
        "network": network,
        "recipient": recipient,
        "pair": pair,
        "stranger": settings.mail_per_stranger,
    }
