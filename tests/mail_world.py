"""A mail server on loopback, and functions that fill and deliver the outbox."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Outbox
from services.core.settings import Settings
from services.messaging import delivery, outbox
from services.messaging.links import Links

Sessions = async_sessionmaker[AsyncSession]
URL = "https://commonweal.example"


@dataclass
class MailServer:
    """An aiosmtpd handler that stores messages, or answers `refusal`."""

    port: int
    refusal: str = ""
    envelopes: list[Envelope] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Store a message, or refuse it."""
        if self.refusal:
            return self.refusal
        self.envelopes.append(envelope)
        return "250 OK"

    @property
    def mails(self) -> list[EmailMessage]:
        """The stored messages."""
        contents = [one.content for one in self.envelopes if isinstance(one.content, bytes)]
        return [message_from_bytes(one, policy=policy.default) for one in contents]

    @property
    def settings(self) -> Settings:
        """Settings that send mail to this server."""
        url = f"smtp://127.0.0.1:{self.port}"
        return Settings(smtp_url=url, public_url=URL, outbox_interval_ms=20)


@contextmanager
def run_mail_server(smtp: MailServer, **options: Any) -> Iterator[None]:
    controller = Controller(smtp, hostname="127.0.0.1", port=smtp.port, **options)
    controller.start()
    try:
        yield
    finally:
        controller.stop()


async def queue_mails(sessions: Sessions, *names: str, template: str = "address_in_use") -> None:
    async with sessions.begin() as session:
        for name in names:
            payload = {"name": name, "token": "t0p-Secret"}
            if template not in {"verify_email", "password_reset"}:
                del payload["token"]
            await outbox.mail_address(
                session, address=f"{name}@example.org", template=template, payload=payload
            )


async def load_undelivered(sessions: Sessions) -> Sequence[Outbox]:
    async with sessions() as session:
        statement = select(Outbox).where(col(Outbox.delivered_at).is_(None))
        return (await session.execute(statement)).scalars().all()


async def make_all_due(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        open_ = col(Outbox.delivered_at).is_(None)
        await session.execute(update(Outbox).where(open_).values(next_attempt_at=func.now()))


async def deliver(sessions: Sessions, smtp: MailServer) -> int:
    return await delivery.deliver_due(sessions, send=delivery.make_sender(smtp.settings), links=Links(URL))


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def seconds_until_next(sessions: Sessions) -> float:
    async with sessions() as session:
        wait = func.extract("epoch", col(Outbox.next_attempt_at) - func.now())
        statement = select(wait).where(col(Outbox.delivered_at).is_(None))
        return float((await session.execute(statement)).scalar_one())
