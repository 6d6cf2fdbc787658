"""Names of time zones: one for each place, whatever older name a browser sends.

The names come from the time zone database in the package `tzdata`, not from the machine, whose folder may
also have `localtime`. PostgreSQL has the last word: `time_zone_guard` refuses what it does not know.
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources

UTC = "UTC"
_NOT_PLACES = {"Factory"}
_MAX_LINKS = 5


def find_time_zone(name: str) -> str | None:
    """Return the present name of a time zone, such as `Asia/Kolkata` for `Asia/Calcutta`, or None."""
    places, zones, links = _read_database()
    for _ in range(_MAX_LINKS):
        if name in places:
            return name
        if name in {"Etc/UTC", "Etc/GMT", UTC}:
            return UTC
        if name not in links:
            break
        name = links[name]
    return name if name in zones - _NOT_PLACES else None


@cache
def _read_database() -> tuple[frozenset[str], frozenset[str], Mapping[str, str]]:
    """Return the names of places, of zones with rules, and the older names with those that replace them."""
    folder = resources.files("tzdata") / "zoneinfo"
    rows = [line.split() for line in (folder / "tzdata.zi").read_text().splitlines()]
    table = [line.split("\t") for line in (folder / "zone.tab").read_text().splitlines()]
    return (
        frozenset(row[2] for row in table if not row[0].startswith("#")),
        frozenset(row[1] for row in rows if row and row[0] == "Z"),
        {row[2]: row[1] for row in rows if row and row[0] == "L"},
    )
