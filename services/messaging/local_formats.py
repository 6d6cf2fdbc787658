"""Times, days and amounts as readers of a language write them."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from zoneinfo import ZoneInfo

from babel.dates import format_date, get_timezone_gmt
from babel.numbers import format_decimal

from models.enums import Locale
from services.core.languages import translate

_CONVENTIONS: Mapping[Locale, str] = MappingProxyType(
    {Locale.EN: "en_GB", Locale.DE: "de_DE", Locale.FR: "fr_FR", Locale.ES: "es_ES"}
)
_AMOUNT = re.compile(r"(-?[0-9]+(?:\.([0-9]+))?) ([A-Z]{3})")
UNTIL = "{start} to {end}"


def format_period(starts_at: datetime, ends_at: datetime, zone: str, locale: Locale) -> str:
    """Format a period in a time zone, whose offset from GMT is told twice if it changes meanwhile.

    In a night in autumn the same hour comes twice: the offset alone tells 02:30 from 02:30.
    """
    starts, ends = (at.astimezone(ZoneInfo(zone)) for at in (starts_at, ends_at))
    changes = starts.utcoffset() != ends.utcoffset()
    start, end = (_format_clock(at, locale, with_offset=changes) for at in (starts, ends))
    if starts.date() != ends.date():
        end = f"{format_day(ends.date(), locale)}, {end}"
    period = translate(UNTIL, locale).format(start=start, end=end)
    offset = "" if changes else f", {_format_offset(starts, locale)}"
    return f"{format_day(starts.date(), locale)}, {period} ({zone}{offset})"


def format_moment(at: datetime, zone: str, locale: Locale) -> str:
    """Format a point in time, with its time zone."""
    local = at.astimezone(ZoneInfo(zone))
    where = zone if zone == "UTC" else f"{zone}, {_format_offset(local, locale)}"
    return f"{format_day(local.date(), locale)}, {_format_clock(local, locale)} ({where})"


def format_day(day: date, locale: Locale) -> str:
    """Format a day with its weekday."""
    return format_date(day, "full", locale=_CONVENTIONS[locale])


def format_amount(text: str, locale: Locale) -> str:
    """Format an amount such as `1250.00 USD` with a language's separators; keep any other text."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        return text
    places = "0" * len(match[2] or "")
    number = format_decimal(
        Decimal(match[1]), format=f"#,##0.{places}" if places else "#,##0", locale=_CONVENTIONS[locale]
    )
    return f"{number} {match[3]}"


def _format_clock(at: datetime, locale: Locale, *, with_offset: bool = False) -> str:
    return f"{at:%H:%M} {_format_offset(at, locale)}" if with_offset else f"{at:%H:%M}"


def _format_offset(at: datetime, locale: Locale) -> str:
    return get_timezone_gmt(at, "long", locale=_CONVENTIONS[locale])
