"""Mails as their readers get them: one language, as plain text and as HTML."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from string import Formatter
from typing import Any, NamedTuple

from models.enums import CollectiveType, GiverStatus, Locale, MemberRole, OrderStatus, OrderType
from services.core.languages import translate
from services.messaging import html_mails, local_formats
from services.messaging.gift_templates import GIFT_NOTES
from services.messaging.html_mails import STOP_NOTE
from services.messaging.links import LABELS, Links, find_page
from services.messaging.templates import TEMPLATES, is_value, list_texts, paragraphs_of

MAX_VALUE_LENGTH = 500
MAX_SUBJECT_LENGTH = 120
MAX_MESSAGE_LENGTH = 2000
WAITING_NOTE = (
    "All places are taken. You are on the waiting list, and we will let you know when you get a place."
)
_JOINERS = "\u200c\u200d"
"""Joiners: not printable themselves, but whole scripts and many emoji need them."""
_ENUMS = (CollectiveType, OrderType, OrderStatus, GiverStatus, MemberRole)
_ENUM_KEYS = frozenset({"type", "status", "role"})
_AMOUNT_KEYS = frozenset({"amount", "price", "payout", "currents", "tip", "fees", "tips"})
_FACTORS = ("a passkey", "an authenticator app", "new recovery codes", "every second factor")
_TRANSLATED_KEYS = _ENUM_KEYS | {"note", "factor"}


class RenderedMail(NamedTuple):
    """A mail's one-line subject and its two texts."""

    subject: str
    text: str
    html: str


def render(
    template: str,
    payload: Mapping[str, Any],
    *,
    links: Links,
    locale: Locale = Locale.EN,
    stop_url: str | None = None,
) -> RenderedMail:
    """Render a mail in a language; `stop_url` is for readers without an account.

    Raises:
        KeyError: there is no such template, or the payload lacks a value that it needs.
    """
    values = _template_values(template, payload, links=links, locale=locale)
    title = translate(TEMPLATES[template][0], locale).format_map(values)
    subject = to_one_line(title, max_length=MAX_SUBJECT_LENGTH)
    subject = subject[:1].upper() + subject[1:]
    paragraphs = [
        kept
        for lines in paragraphs_of(template)
        if (
            kept := [
                line if is_value(line) else translate(line, locale)
                for line in lines
                if _has_content(line, values)
            ]
        )
    ]
    text = "\n\n".join("\n".join(line.format_map(values) for line in lines) for lines in paragraphs)
    text = f"{text.rstrip()}\n\n-- \nCommonweal\n{links.site}\n"
    label = translate(LABELS.get(find_page(template), ""), locale)
    html = html_mails.build(
        subject, paragraphs, values, label=label, site=links.site, stop_url=stop_url, locale=locale
    )
    if stop_url is not None:
        text = f"{text}\n{translate(STOP_NOTE, locale)}\n{stop_url}\n"
    return RenderedMail(subject, text, html)


def list_words() -> list[str]:
    """List the words that mails take from an order, a member or a factor, and need a translation."""
    names = {member.value.lower().replace("_", " ") for kind in _ENUMS for member in kind}
    return [*sorted(names), "approved", "declined", WAITING_NOTE, *GIFT_NOTES, *_FACTORS]


def list_mail_texts() -> list[str]:
    """List all texts of mails that need a translation."""
    return [*list_texts(), *list_words(), *LABELS.values(), STOP_NOTE, local_formats.UNTIL]


def to_one_line(text: str, *, max_length: int) -> str:
    """Return the text as one line, safe in a mail header and shortened to `max_length`.

    Unprintable characters are removed: controls, and marks that reverse the direction of text.
    """
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(char for char in line if char.isprintable() or char in _JOINERS)
    return line if len(line) <= max_length else f"{line[: max_length - 1]}…"


def _template_values(
    template: str, payload: Mapping[str, Any], *, links: Links, locale: Locale
) -> dict[str, str]:
    shown = {name: value for name, value in payload.items() if name != "calendar"}  # a file of its own
    values = {name: _format_value(name, value, locale) for name, value in shown.items()}
    values["public_url"] = links.site
    values.setdefault("tip", "")  # mails that were queued before there were tips
    if "token" in values:
        values["link"] = links.to(find_page(template), values["token"])
    if "pay_page" in values:
        values["pay_link"] = f"{links.server}/donate/{values['pay_page']}"
    if "id" in values:
        values["export_link"] = f"{links.server}/export/my-data/{values['id']}"
    if "approved" in payload:
        values["decision"] = translate("approved" if payload["approved"] else "declined", locale)
    return values


def _format_value(name: str, value: object, locale: Locale) -> str:
    if isinstance(value, Mapping):
        return _format_time(value, locale)
    if name == "message":
        return _quote_message(str(value or ""))
    text = "" if value is None else to_one_line(str(value), max_length=MAX_VALUE_LENGTH)
    if name in _ENUM_KEYS:
        text = text.lower().replace("_", " ")
    if name in _TRANSLATED_KEYS:
        return translate(text, locale)
    if name == "day" and re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return local_formats.format_day(date.fromisoformat(text), locale)
    return local_formats.format_amount(text, locale) if name in _AMOUNT_KEYS else text


def _format_time(value: Mapping[str, Any], locale: Locale) -> str:
    """Format a point in time or a period, as services put it into a payload."""
    starts_at, zone = datetime.fromisoformat(value["at"]), str(value["zone"])
    if "until" in value:
        return local_formats.format_period(starts_at, datetime.fromisoformat(value["until"]), zone, locale)
    return local_formats.format_moment(starts_at, zone, locale)


def _quote_message(text: str) -> str:
    """Return a person's message with each line marked as a quotation."""
    lines = (
        to_one_line(line, max_length=MAX_MESSAGE_LENGTH) for line in text[:MAX_MESSAGE_LENGTH].splitlines()
    )
    return "\n".join(f"> {line}" for line in lines if line)


def _has_content(line: str, values: Mapping[str, str]) -> bool:
    names = _names_in(line)
    return not names or any(values[name] for name in names)


@cache
def _names_in(line: str) -> tuple[str, ...]:
    """Return the names of the values in a line of a template."""
    return tuple(name for _, name, _, _ in Formatter().parse(line) if name)
