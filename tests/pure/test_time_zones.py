"""Time zones: older names become the present ones, and what names no zone is refused."""

import pytest

from services.core.time_zones import find_time_zone


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("Europe/Amsterdam", "Europe/Amsterdam"),
        ("Asia/Calcutta", "Asia/Kolkata"),
        ("US/Pacific", "America/Los_Angeles"),
        ("Europe/Kiev", "Europe/Kyiv"),
        ("America/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("Etc/UTC", "UTC"),
        ("Zulu", "UTC"),
        ("GMT", "UTC"),
        ("Etc/GMT+5", "Etc/GMT+5"),
    ],
)
def test_a_name_becomes_the_present_one(name: str, found: str) -> None:
    assert find_time_zone(name) == found


@pytest.mark.parametrize(
    "name",
    ["", "localtime", "posixrules", "Factory", "posix/Europe/Berlin", "right/UTC", "PDT", "FOO+3", "../x"],
)
def test_what_names_no_zone_is_not_found(name: str) -> None:
    assert find_time_zone(name) is None
