"""What each mail says: plain text, English. The facts in it are what people typed."""

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any
from urllib.parse import quote

from services.messaging.account_templates import ACCOUNT_TEMPLATES
from services.messaging.event_templates import EVENT_TEMPLATES
from services.messaging.redemption_templates import REDEMPTION_TEMPLATES

MAX_FACT = 500
MAX_SUBJECT = 120
MAX_MESSAGE = 2000
_JOINERS = "\u200c\u200d"
"""Not printable by themselves, but whole scripts and emoji are written with them."""
_VOCABULARIES = frozenset({"type", "status", "role"})

_ORDER = """
Amount: {amount}
To: {to}
Kind: {type}
Description: {description}
"""

_HOURS = """
Currents: {amount}
Day: {day}
Nonprofit: {nonprofit}
Description: {description}
"""

# Subject and text by template. A line of the text whose facts are all empty is left out.
TEMPLATES: Mapping[str, tuple[str, str]] = {
    **ACCOUNT_TEMPLATES,
    "organization_created": (
        "{name} is new: a {type}",
        """Hello,

{by} has created {name} ({type}) at Commonweal.

Slug: {slug}
""",
    ),
    "invitation": (
        "{by} invites you to {collective}",
        """Hello {name},

{by} invites you to {collective}, in the role: {role}.

Sign in with this address to accept or to decline.
""",
    ),
    "host_application": (
        "{collective} asks to be hosted by {host}",
        """Hello,

{collective} asks {host} to be its host. Please accept or decline the application.
""",
    ),
    "host_decision": (
        "{host} has {decision} {collective}",
        """Hello,

{host} has {decision} the application of {collective}.

Reason: {reason}
""",
    ),
    "issuer_decision": (
        "{nonprofit}: {decision} as an issuer of currents",
        """Hello,

{nonprofit} was {decision} as a nonprofit that issues currents for volunteer hours.

Reason: {reason}
""",
    ),
    "donation_expected": (
        "A donation of {amount} to {to} is on its way",
        f"""Hello,

a donation to {{to}} was announced. Please approve it once the money has arrived.
{_ORDER}""",
    ),
    "donation_confirmation": (
        "Thank you for giving {amount} to {to}",
        f"""Hello,

thank you! Your donation to {{to}} is done; please keep this mail as your receipt.
{_ORDER}""",
    ),
    "money_received": (
        "{to} has received {amount}",
        f"""Hello,

good news: {{to}} has received {{amount}}.
{_ORDER}""",
    ),
    "expense_submitted": (
        "{to} asks for {amount}",
        f"""Hello,

an expense waits for your approval.
{_ORDER}""",
    ),
    "expense_approved": (
        "An expense of {amount} was approved",
        f"""Hello,

an expense was approved; its host pays it next.
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
        "{name} asks for {amount}",
        f"""Hello,

{{name}} has volunteered for {{nonprofit}} and asks to approve the hours.
{_HOURS}""",
    ),
    "hours_for_coordinator": (
        "{name} names you as coordinator",
        f"""Hello,

{{name}} has volunteered for {{nonprofit}} and says that you coordinated it. An ADMIN of {{nonprofit}} can
approve the hours; if you are not one yet, please ask one of them.
{_HOURS}""",
    ),
    "hours_approved": (
        "{nonprofit} has approved {amount}",
        f"""Hello {{name}},

thank you! {{nonprofit}} has approved your hours; the currents are in your balance.
{_HOURS}""",
    ),
    "nonprofit_nominated": (
        "Volunteers would like to log hours for you",
        """Hello,

a member of Commonweal ({name}) has volunteered for your organization and would like to log the hours.
Sign up, and create your nonprofit there, to approve them:

{public_url}

If this means nothing to you, just ignore this mail.
""",
    ),
    "nomination": (
        "{name} nominates a nonprofit: {nonprofit}",
        """Hello,

{name} would like to log hours for a nonprofit that is not here yet.

Nonprofit: {nonprofit}
Address: {email}
Description: {description}
""",
    ),
    "cash_out_requested": (
        "{to} asks for {amount} to be paid out",
        f"""Hello,

a cash-out waits for your approval.
{_ORDER}""",
    ),
    "cash_out_approved": (
        "Your cash-out of {amount} was approved",
        f"""Hello,

your cash-out was approved; it is paid next.
{_ORDER}""",
    ),
    "order_refunded": (
        "{type} of {amount}: refunded",
        f"""Hello,

an order ({{type}}) was returned, in whole or in part. Its history says how much.
{_ORDER}""",
    ),
    **EVENT_TEMPLATES,
    **REDEMPTION_TEMPLATES,
}


def render(template: str, payload: Mapping[str, Any], *, public_url: str) -> tuple[str, str]:
    """Return the subject, one line, and the text of a mail.

    Raises:
        KeyError: there is no such template, or the payload lacks a fact that it needs.
    """
    subject, text = TEMPLATES[template]
    page = "reset" if template == "password_reset" else "verify"
    facts = _facts(payload, public_url=public_url.rstrip("/"), page=page)
    lines = [line.format_map(facts) for line in text.splitlines() if _says_something(line, facts)]
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    head = one_line(subject.format_map(facts), max_length=MAX_SUBJECT)
    return head[:1].upper() + head[1:], f"{body}\n\n-- \nCommonweal\n{facts['public_url']}\n"


def one_line(text: str, *, max_length: int) -> str:
    """Return the text as one line that can end no header, shortened to `max_length`.

    What is not printable goes: controls, and the marks that make text run backwards.
    """
    line = " ".join(text.split())
    line = "".join(char for char in line if char.isprintable() or char in _JOINERS)
    return line if len(line) <= max_length else f"{line[: max_length - 1]}…"


def _facts(payload: Mapping[str, Any], *, public_url: str, page: str) -> dict[str, str]:
    facts = {name: _shown(name, value) for name, value in payload.items()}
    facts["public_url"] = public_url
    if "token" in facts:
        facts["link"] = f"{public_url}/{page}?token={quote(facts['token'], safe='')}"
    if "approved" in payload:
        facts["decision"] = "accepted" if payload["approved"] else "declined"
    return facts


def _shown(name: str, value: object) -> str:
    if name == "message":
        return _quoted(str(value or ""))
    text = "" if value is None else one_line(str(value), max_length=MAX_FACT)
    return text.lower().replace("_", " ") if name in _VOCABULARIES else text


def _quoted(text: str) -> str:
    """Return what a person wrote to another: its lines, each marked as theirs."""
    lines = (one_line(line, max_length=MAX_MESSAGE) for line in text[:MAX_MESSAGE].splitlines())
    return "\n".join(f"> {line}" for line in lines if line)


def _says_something(line: str, facts: Mapping[str, str]) -> bool:
    names = [name for _, name, _, _ in Formatter().parse(line) if name]
    return not names or any(facts[name] for name in names)
