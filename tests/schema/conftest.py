"""Fixtures of tests that compare executors."""

from collections.abc import Iterator

import pytest

from tests.conftest import Server
from tests.schema.plan.executor_equivalence import PopulatedWorld, create_populated_world


@pytest.fixture(scope="session")
def populated(server: Server, template: str) -> Iterator[PopulatedWorld]:
    """Return a populated world that tests only read."""
    with create_populated_world(server, template) as result:
        yield result
