"""Stopping mails to somebody who never signed up: by the page, and by one click in a mail program."""

import re
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import text

from schema.server.app import create_application
from services.messaging import delivery, outbox
from services.messaging.links import Links
from services.messaging.mime_messages import read_text
from tests.factories import World
from tests.mail_world import URL, MailServer, run_mail_server

INVITATION = {"name": "x", "by": "x", "collective": "x", "role": "ADMIN"}


@pytest.fixture
def smtp() -> MailServer:
    """Return a mail server that is not started yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return MailServer(free.getsockname()[1])


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    app = create_application(world.settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as result:
            yield result


async def queue(world: World, address: str, template: str = "invitation", *, is_due: bool = False) -> None:
    async with world.sessions() as session, session.begin():
        payload = {**INVITATION, "token": "t"} if template == "verify_email" else INVITATION
        await outbox.mail_address(session, address=address, template=template, payload=payload)
        if not is_due:  # the server would deliver it
            later = "UPDATE outbox SET next_attempt_at = now() + interval '1 day'"
            await session.execute(text(later))


async def waiting(world: World, address: str) -> list[str]:
    async with world.sessions() as session:
        rows = await session.execute(
            text("SELECT template FROM outbox WHERE recipient = :a AND failed_at IS NULL ORDER BY 1"),
            {"a": address},
        )
        return list(rows.scalars())


async def stop_path(world: World, address: str) -> str:
    token = await world.scalar("SELECT token FROM mail_stop WHERE address = :a", a=address)
    return f"/stop?token={token}"


async def test_every_mail_to_a_stranger_says_how_to_stop_it(world: World, smtp: MailServer) -> None:
    bea = await world.person("bea")
    for address in ("victim@example.org", bea.email):
        for template in ("invitation", "verify_email", "order_closed"):
            await queue(world, address, template, is_due=True)
    async with world.sessions() as session, session.begin():
        closed = '{"type": "x", "amount": "x", "status": "x", "to": "x", "description": "x", "reason": "x"}'
        await session.execute(
            text("UPDATE outbox SET payload = CAST(:p AS jsonb) WHERE template = 'order_closed'"),
            {"p": closed},
        )
    with run_mail_server(smtp):
        sender = delivery.make_sender(smtp.settings)
        assert await delivery.deliver_due(world.sessions, send=sender, links=Links(URL)) == 6
    expected = f"{URL}{await stop_path(world, 'victim@example.org')}"
    for mail in smtp.mails:
        if mail["To"] == bea.email:
            assert mail["List-Unsubscribe"] is None
        else:
            assert re.sub(r"\s", "", mail["List-Unsubscribe"]) == f"<{expected}>"
            assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
            assert expected in read_text(mail)


@pytest.mark.parametrize("content", [b"", b"List-Unsubscribe=One-Click"])
async def test_a_post_stops_and_a_get_does_not(
    world: World, client: httpx.AsyncClient, content: bytes
) -> None:
    victim = "victim@example.org"
    await queue(world, victim)
    path = await stop_path(world, victim)
    shown = await client.get(path)
    assert shown.status_code == 200
    assert 'method="post"' in shown.text
    assert shown.headers["content-security-policy"].startswith("default-src 'none'")
    assert await waiting(world, victim) == ["invitation"]
    for _ in range(2):
        answer = await client.post(
            path, content=content, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert answer.status_code == 200
        assert victim not in answer.text
    assert await waiting(world, victim) == []


async def test_a_stopped_address_gets_only_what_it_asks_for(world: World, client: httpx.AsyncClient) -> None:
    victim = "victim@example.org"
    await queue(world, victim)
    await client.post(await stop_path(world, victim))
    for template in ("invitation", "nonprofit_nominated", "coordinator_messaged", "order_closed"):
        await queue(world, victim, template)
    assert await waiting(world, victim) == []
    await queue(world, victim, "email_change_confirm")  # which somebody else asks for
    assert await waiting(world, victim) == []
    payload = await world.mutate("signUp", email=victim, name="Vic")
    assert payload["errors"] == []
    assert await waiting(world, victim) == ["verify_email"]


@pytest.mark.parametrize("token", ["", "x", "'; DROP TABLE outbox; --", "%00", "x" * 5000])
async def test_another_token_stops_nothing(world: World, client: httpx.AsyncClient, token: str) -> None:
    await queue(world, "victim@example.org")
    before = await world.fingerprint()
    assert (await client.post("/stop", params={"token": token})).status_code == 404
    assert await world.fingerprint() | {"rate_bucket": None} == before | {"rate_bucket": None}
