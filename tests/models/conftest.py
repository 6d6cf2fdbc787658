"""Fixtures of the tests of the database's own guards."""

from collections.abc import Iterator

import pytest

from tests.models.guard_cases import close_connections


@pytest.fixture(scope="session", autouse=True)
def shared_connections() -> Iterator[None]:
    """Close the connections that these tests shared."""
    yield
    close_connections()
