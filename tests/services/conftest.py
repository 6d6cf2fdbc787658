"""What tests of one subject share over several files."""

import socket

import pytest

from tests.mail_world import MailServer
from tests.open_collective_files import Sessions, organization


@pytest.fixture
def smtp() -> MailServer:
    """A mail server that is not started yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return MailServer(free.getsockname()[1])


@pytest.fixture
async def hosted(sessions: Sessions) -> Sessions:
    """Store a platform and a host, both in dollars."""
    async with sessions() as session:
        await organization(session, "platform", is_platform=True)
        await organization(session, "opensource")
        await session.commit()
    return sessions
