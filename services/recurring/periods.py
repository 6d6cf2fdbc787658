"""The days of a recurring gift: when it is charged, and when a refused charge is tried again."""

import calendar
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from models.enums import GiftInterval

RETRY_DAYS = (2, 4, 9, 14)
"""Days after the first refusal on which a charge is tried again. After the last one, the gift ends."""
LATE_DAYS = 14
"""A period that is later than this is left out."""
TRANSFER_DAYS = 5
"""Days before its day on which a gift by bank transfer is asked for."""


def day_in_month(year: int, month: int, anchor_day: int) -> date:
    """Return the day of a month, or the month's last day if it is shorter."""
    return date(year, month, min(anchor_day, calendar.monthrange(year, month)[1]))


def next_day(after: date, interval: GiftInterval, anchor_day: int) -> date:
    """Return the day of the period after that of a day."""
    if interval == GiftInterval.YEAR:
        return day_in_month(after.year + 1, after.month, anchor_day)
    month = after.month % 12 + 1
    return day_in_month(after.year + (month == 1), month, anchor_day)


def first_day_from(start: date, until: date, interval: GiftInterval, anchor_day: int) -> date:
    """Return the first day at or after `until` of the periods that begin with `start`."""
    day = start
    while day < until:
        day = next_day(day, interval, anchor_day)
    return day


def move_day(day: date, anchor_day: int, interval: GiftInterval, *, after: date) -> date:
    """Return the day of a period moved within its month; of the period after it, if that day is over."""
    moved = day_in_month(day.year, day.month, anchor_day)
    return first_day_from(moved, after + timedelta(days=1), interval, anchor_day)


def find_retry(failed_on: date, today: date) -> date | None:
    """Return the next day on which to try a refused charge again, or None if none is left."""
    days = (failed_on + timedelta(days=offset) for offset in RETRY_DAYS)
    return next((day for day in days if day > today), None)


def begin_of(day: date, timezone: str) -> datetime:
    """Return the moment at which a day begins in a time zone."""
    return datetime.combine(day, time.min, ZoneInfo(timezone)).astimezone(UTC)


def day_of(at: datetime, timezone: str) -> date:
    """Return the day of a moment in a time zone."""
    return at.astimezone(ZoneInfo(timezone)).date()
