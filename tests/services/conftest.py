"""Fixtures that several files share."""

import socket

import pytest

from tests.mail_world import MailServer
from tests.open_collective_files import Sessions, create_organization


@pytest.fixture
def smtp() -> MailServer:
    """Return a mail server that is not started yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return MailServer(free.getsockname()[1])


@pytest.fixture
async def hosted(sessions: Sessions) -> Sessions:
    """Store a platform and a host, both in dollars."""
    async with sessions() as session:
        await create_organization(session, "platform", is_platform=True)
        await create_organization(session, "opensource")
        await session.commit()
    return sessions
