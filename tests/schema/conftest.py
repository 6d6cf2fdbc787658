"""What several tests of answers share."""

from collections.abc import Iterator

import pytest

from tests.conftest import Server
from tests.schema.plan.executor_equivalence import Shown, shown_on


@pytest.fixture(scope="session")
def shown(server: Server, template: str) -> Iterator[Shown]:
    """Return a populated world, which is only read."""
    with shown_on(server, template) as found:
        yield found
