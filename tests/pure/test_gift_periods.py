"""The days of recurring gifts."""

import calendar
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.enums import GiftInterval
from services.recurring import periods

MONTH, YEAR = GiftInterval.MONTH, GiftInterval.YEAR
DAYS = st.dates(date(1990, 1, 1), date(2200, 1, 1))
ANCHORS = st.integers(1, 31)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kolkata"])


def run(start: date, interval: GiftInterval, count: int) -> list[str]:
    """Return the days of the periods after a first one."""
    days, day = [], start
    for _ in range(count):
        day = periods.next_day(day, interval, start.day)
        days.append(day.isoformat())
    return days


def test_a_month_that_is_shorter_charges_on_its_last_day_and_the_next_on_the_anchor() -> None:
    assert run(date(2026, 1, 31), MONTH, 3) == ["2026-02-28", "2026-03-31", "2026-04-30"]
    assert run(date(2027, 12, 30), MONTH, 3) == ["2028-01-30", "2028-02-29", "2028-03-30"]


def test_a_year_from_a_leap_day_charges_on_28_february_until_the_next_leap_year() -> None:
    assert run(date(2028, 2, 29), YEAR, 4) == ["2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]


@given(start=DAYS, count=st.integers(1, 40), interval=st.sampled_from([MONTH, YEAR]))
def test_there_is_one_period_a_month_or_year_as_close_to_the_anchor_as_it_can_be(
    start: date, count: int, interval: GiftInterval
) -> None:
    days = [start, *(date.fromisoformat(day) for day in run(start, interval, count))]
    step = 1 if interval == MONTH else 12
    for before, after in pairwise(days):
        assert (after.year * 12 + after.month) - (before.year * 12 + before.month) == step
        last = calendar.monthrange(after.year, after.month)[1]
        assert after.day == min(start.day, last)


@given(start=DAYS, ahead=st.integers(-40, 900), anchor=ANCHORS, interval=st.sampled_from([MONTH, YEAR]))
def test_the_first_day_from_a_day_is_the_earliest_that_is_not_before_it(
    start: date, ahead: int, anchor: int, interval: GiftInterval
) -> None:
    until = start + timedelta(days=ahead)
    day = periods.first_day_from(start, until, interval, anchor)
    assert day >= until and day >= start
    if day > start:
        days = [start]
        while days[-1] < day:
            days.append(periods.next_day(days[-1], interval, anchor))
        assert days[-1] == day and days[-2] < until


@given(day=DAYS, anchor=ANCHORS, ago=st.integers(1, 27), interval=st.sampled_from([MONTH, YEAR]))
def test_a_moved_day_is_in_the_future_and_skips_one_period_at_most(
    day: date, anchor: int, ago: int, interval: GiftInterval
) -> None:
    today = day - timedelta(days=ago)
    moved = periods.move_day(day, anchor, interval, after=today)
    assert moved > today
    assert moved.day == min(anchor, calendar.monthrange(moved.year, moved.month)[1])
    months = (moved.year * 12 + moved.month) - (day.year * 12 + day.month)
    assert months in {0, 1 if interval == MONTH else 12}


@pytest.mark.parametrize(
    ("days_later", "expected"),
    [(0, 2), (1, 2), (2, 4), (3, 4), (4, 9), (9, 14), (13, 14), (14, None), (20, None)],
)
def test_a_refused_charge_is_tried_again_after_2_4_9_and_14_days(
    days_later: int, expected: int | None
) -> None:
    failed_on = date(2026, 3, 1)
    retry = periods.find_retry(failed_on, failed_on + timedelta(days=days_later))
    assert retry == (None if expected is None else failed_on + timedelta(days=expected))


@given(day=DAYS, zone=ZONES)
def test_a_day_begins_on_that_day_and_not_a_moment_earlier(day: date, zone: str) -> None:
    begins_at = periods.begin_of(day, zone)
    # Samoa left out a day when it crossed the date line: what would begin then begins with the next one.
    assert periods.day_of(begins_at, zone) - day in {timedelta(0), timedelta(days=1)}
    assert periods.day_of(begins_at - timedelta(seconds=1), zone) < day + timedelta(days=1)


def test_days_are_counted_in_a_time_zone() -> None:
    assert periods.begin_of(date(2026, 3, 1), "Europe/Berlin") == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert periods.day_of(datetime(2026, 2, 28, 23, tzinfo=UTC), "Europe/Berlin") == date(2026, 3, 1)
