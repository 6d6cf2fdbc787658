"""Tests in this folder run without a database, in seconds."""

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose fixtures start the database server."""
    if "server" in getattr(item, "fixturenames", ()):
        pytest.fail("tests/pure runs without a database; move this test to another folder")
