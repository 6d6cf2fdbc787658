"""Mail templates: plain text in English, filled in with values that people entered."""

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any
from urllib.parse import quote

from services.messaging.account_templates import ACCOUNT_TEMPLATES
from services.messaging.event_templates import EVENT_TEMPLATES
from services.messaging.host_templates import HOST_TEMPLATES
from services.messaging.redemption_templates import REDEMPTION_TEMPLATES
from services.messaging.settlement_templates import SETTLEMENT_TEMPLATES

MAX_VALUE_LENGTH = 500
MAX_SUBJECT_LENGTH = 120
MAX_MESSAGE_LENGTH = 2000
_JOINERS = "\u200c\u200d"
"""Joiners: not printable themselves, but whole scripts and many emoji need them."""
_PAGES = {
    "password_reset": "reset",
    "email_change_undone": "reset",
    "email_change_confirm": "confirm-email",
    "email_changed": "undo-email",
}
"""The page that takes a mail's token; `verify` for any other mail."""
_ENUM_KEYS = frozenset({"type", "status", "role"})

_ORDER = """
Amount: {amount}
To: {to}
Type: {type}
Description: {description}
"""

_HOURS = """
Currents: {amount}
Date: {day}
Nonprofit: {nonprofit}
Description: {description}
"""

# Subject and text by template. A line whose values are all empty is left out.
TEMPLATES: Mapping[str, tuple[str, str]] = {
    **ACCOUNT_TEMPLATES,
    **HOST_TEMPLATES,
    "organization_created": (
        "New {type}: {name}",
        """Hello,

{by} has created {name} ({type}) on Commonweal.

Slug: {slug}
""",
    ),
    "invitation": (
        "{by} has invited you to {collective}",
        """Hello {name},

{by} has invited you to join {collective} as: {role}.

Sign in with this email address to accept or decline.
""",
    ),
    "issuer_decision": (
        "{nonprofit} was {decision} as an issuer of currents",
        """Hello,

{nonprofit} was {decision} as an issuer of currents for volunteer hours.

Reason: {reason}
""",
    ),
    "donation_expected": (
        "A donation of {amount} to {to} is on its way",
        f"""Hello,

somebody has promised a donation to {{to}}. Please approve it once the money has arrived.
{_ORDER}""",
    ),
    "donation_confirmation": (
        "Thank you for donating {amount} to {to}",
        f"""Hello,

thank you! Your donation to {{to}} is complete. Please keep this email as your receipt.
{_ORDER}""",
    ),
    "money_received": (
        "{to} has received {amount}",
        f"""Hello,

good news: {{to}} has received {{amount}}.
{_ORDER}""",
    ),
    "contribution_claimed": (
        "Please confirm: {amount} for {to}",
        f"""Hello,

a host has added {{amount}} for {{to}} and says that it came from you. Please confirm or deny it. Until you
confirm, nobody but that host sees your name with it.
{_ORDER}""",
    ),
    "contribution_answered": (
        "{amount} for {to}: {status} by the giver",
        f"""Hello,

the giver in whose name you added {{amount}} for {{to}} has answered: {{status}}.
Reason: {{reason}}
{_ORDER}""",
    ),
    "expense_submitted": (
        "Expense of {amount} submitted by {to}",
        f"""Hello,

an expense is waiting for your approval.
{_ORDER}""",
    ),
    "expense_approved": (
        "An expense of {amount} was approved",
        f"""Hello,

an expense was approved. Its host will pay it next.
{_ORDER}""",
    ),
    "order_closed": (
        "{type} of {amount}: {status}",
        f"""Hello,

this order ({{type}}) is closed: {{status}}.
{_ORDER}
Reason: {{reason}}
""",
    ),
    "hours_requested": (
        "{name} has requested {amount}",
        f"""Hello,

{{name}} has volunteered for {{nonprofit}} and asks you to approve the hours.
{_HOURS}""",
    ),
    "hours_for_coordinator": (
        "{name} has named you as coordinator",
        f"""Hello,

{{name}} has volunteered for {{nonprofit}} and named you as the coordinator. An admin of {{nonprofit}} can
approve the hours. If you are not an admin, please ask one.
{_HOURS}""",
    ),
    "hours_approved": (
        "{nonprofit} has approved {amount}",
        f"""Hello {{name}},

thank you! {{nonprofit}} has approved your hours. The currents are in your balance.
{_HOURS}""",
    ),
    "nonprofit_nominated": (
        "A volunteer would like to log hours for you",
        """Hello,

a member of Commonweal ({name}) has volunteered for your organization and would like to log the hours.
To approve them, sign up and create your nonprofit here:

{public_url}

If you were not expecting this email, please ignore it.
""",
    ),
    "nomination": (
        "{name} has nominated a nonprofit: {nonprofit}",
        """Hello,

{name} would like to log hours for a nonprofit that is not on Commonweal yet.

Nonprofit: {nonprofit}
Email: {email}
Description: {description}
""",
    ),
    "cash_out_requested": (
        "{to} has requested a cash-out of {amount}",
        f"""Hello,

a cash-out is waiting for your approval.
{_ORDER}""",
    ),
    "cash_out_approved": (
        "Your cash-out of {amount} was approved",
        f"""Hello,

your cash-out was approved. It will be paid next.
{_ORDER}""",
    ),
    "order_refunded": (
        "{type} of {amount}: refunded",
        f"""Hello,

an order ({{type}}) was refunded, in full or in part. Its history shows how much.
{_ORDER}""",
    ),
    **EVENT_TEMPLATES,
    **REDEMPTION_TEMPLATES,
    **SETTLEMENT_TEMPLATES,
}


def render(template: str, payload: Mapping[str, Any], *, public_url: str) -> tuple[str, str]:
    """Return a mail's one-line subject and its text.

    Raises:
        KeyError: there is no such template, or the payload lacks a value that it needs.
    """
    subject, text = TEMPLATES[template]
    page = _PAGES.get(template, "verify")
    values = _template_values(payload, public_url=public_url.rstrip("/"), page=page)
    lines = [line.format_map(values) for line in text.splitlines() if _has_content(line, values)]
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    subject_line = to_one_line(subject.format_map(values), max_length=MAX_SUBJECT_LENGTH)
    return subject_line[:1].upper() + subject_line[1:], f"{body}\n\n-- \nCommonweal\n{values['public_url']}\n"


def to_one_line(text: str, *, max_length: int) -> str:
    """Return the text as one line, safe in a mail header and shortened to `max_length`.

    Unprintable characters are removed: controls, and marks that reverse the direction of text.
    """
    line = " ".join(text.split())
    line = "".join(char for char in line if char.isprintable() or char in _JOINERS)
    return line if len(line) <= max_length else f"{line[: max_length - 1]}…"


def _template_values(payload: Mapping[str, Any], *, public_url: str, page: str) -> dict[str, str]:
    values = {name: _format_value(name, value) for name, value in payload.items()}
    values["public_url"] = public_url
    if "token" in values:
        values["link"] = f"{public_url}/{page}?token={quote(values['token'], safe='')}"
    if "approved" in payload:
        values["decision"] = "approved" if payload["approved"] else "declined"
    return values


def _format_value(name: str, value: object) -> str:
    if name == "message":
        return _quote_message(str(value or ""))
    text = "" if value is None else to_one_line(str(value), max_length=MAX_VALUE_LENGTH)
    return text.lower().replace("_", " ") if name in _ENUM_KEYS else text


def _quote_message(text: str) -> str:
    """Return a person's message with each line marked as a quotation."""
    lines = (
        to_one_line(line, max_length=MAX_MESSAGE_LENGTH) for line in text[:MAX_MESSAGE_LENGTH].splitlines()
    )
    return "\n".join(f"> {line}" for line in lines if line)


def _has_content(line: str, values: Mapping[str, str]) -> bool:
    names = [name for _, name, _, _ in Formatter().parse(line) if name]
    return not names or any(values[name] for name in names)
