"""iCalendar files (RFC 5545) of events: feeds that calendars subscribe to, and attachments of mails."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from icalendar import Calendar, Event

from models import Collective

CONTENT_TYPE = "text/calendar; charset=utf-8"
REFRESH = timedelta(hours=1)
"""Interval at which subscribers are asked to look again."""
CONFIRMED, TENTATIVE, CANCELLED = "CONFIRMED", "TENTATIVE", "CANCELLED"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An event of a calendar."""

    uid: str
    """The same in every file, so that a calendar updates what it has."""
    sequence: int
    """Larger after each change."""
    changed_at: datetime
    starts_at: datetime
    ends_at: datetime
    name: str
    location: str | None
    description: str | None = None
    status: str = CONFIRMED


def describe(event: Collective, *, status: str = CONFIRMED) -> Entry:
    """Describe an event; one that was cancelled has that status."""
    assert event.starts_at is not None and event.ends_at is not None
    return Entry(
        uid=f"{event.id}@commonweal",
        sequence=max(0, int((event.updated_at - event.created_at).total_seconds())),
        changed_at=event.updated_at,
        starts_at=event.starts_at,
        ends_at=event.ends_at,
        name=event.name,
        location=event.location,
        description=event.description,
        status=CANCELLED if event.cancelled_at is not None else status,
    )


def render(entries: Iterable[Entry], *, name: str | None = None) -> bytes:
    """Return the file of a calendar; with a name, as a feed. Times are in UTC, which needs no time zones."""
    calendar = Calendar()
    calendar.add("prodid", "-//Commonweal//Events//EN")
    calendar.add("version", "2.0")
    if name is not None:
        calendar.add("name", name)
        calendar.add("x-wr-calname", name)
        calendar.add("refresh-interval", REFRESH, parameters={"VALUE": "DURATION"})
        calendar.add("x-published-ttl", "PT1H")
    for entry in entries:
        calendar.add_component(_build_event(entry))
    content: bytes = calendar.to_ical()
    return content


def _build_event(entry: Entry) -> Event:
    event = Event()
    event.add("uid", entry.uid)
    event.add("sequence", entry.sequence)
    for name in ("dtstamp", "last-modified"):
        event.add(name, entry.changed_at.astimezone(UTC))
    event.add("dtstart", entry.starts_at.astimezone(UTC))
    event.add("dtend", entry.ends_at.astimezone(UTC))
    event.add("summary", entry.name)
    event.add("status", entry.status)
    for name, text in (("location", entry.location), ("description", entry.description)):
        if text:
            event.add(name, text)
    return event


def to_payload(entry: Entry) -> dict[str, Any]:
    """Return an entry as a mail's payload keeps it; the description is left out."""
    times = {name: getattr(entry, name).isoformat() for name in ("changed_at", "starts_at", "ends_at")}
    texts = {name: getattr(entry, name) for name in ("uid", "sequence", "name", "location", "status")}
    return times | texts


def from_payload(payload: Mapping[str, Any]) -> Entry:
    """Return the entry of a mail's payload."""
    times = {name: datetime.fromisoformat(payload[name]) for name in ("changed_at", "starts_at", "ends_at")}
    return Entry(**{**payload, **times})
