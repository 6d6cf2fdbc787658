"""Delivery of the outbox: at least once, by as many server processes as there are.

A mail is claimed by a lease, a moved `next_attempt_at`, in a transaction that ends before the mail
server is spoken to: however slow that is, no connection stays in a transaction and no row stays
locked. Who dies between claim and mark leaves a mail that is due again when the lease ends; its
Message-ID is the same, so that a receiver can drop the second.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosmtplib
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import Outbox, now
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from services.messaging.templates import one_line, render

__all__ = ["Job", "Send", "deliver_due", "render", "run", "sender"]

LEASE = timedelta(minutes=5)
SEND_SECONDS = 60
"""For one mail in all; well below the lease, so that nobody else sends it meanwhile."""
SMTP_STEP_SECONDS = 10
FIRST_PAUSE_SECONDS = 60
LONGEST_PAUSE_SECONDS = 6 * 60 * 60
GRACE_SECONDS = 5
"""For the mail that is being sent when the server stops."""
LONGEST_LOOP_PAUSE_SECONDS = 10
MAX_ERROR = 200
TEMPLATE_HEADER = "X-Commonweal-Template"
_PORTS = {"smtp": 25, "smtps": 465}

Send = Callable[[EmailMessage], Awaitable[None]]
Job = Callable[[AsyncSession], Awaitable[object]]

log = logging.getLogger("commonweal.mail")


async def deliver_due(
    sessions: async_sessionmaker[AsyncSession],
    *,
    send: Send,
    public_url: str,
    batch: int = 50,
    stop: asyncio.Event | None = None,
) -> int:
    """Send at most `batch` mails, the longest due first; return how many were delivered.

    A background job that owns its sessions: beside the unit of work and the command line the one
    place that commits, since each claim and each outcome must hold whatever becomes of the next
    mail. A mail that fails waits by its own back-off and keeps no other; only the database's own
    failure is raised. `stop` ends it after the mail at hand.
    """
    delivered = 0
    for _ in range(batch):
        if stop is not None and stop.is_set():
            break
        mail = await _claim(sessions)
        if mail is None:
            break
        error = await _attempt(mail, send, public_url)
        await _settle(sessions, mail, error)
        delivered += error is None
    return delivered


async def _claim(sessions: async_sessionmaker[AsyncSession]) -> Outbox | None:
    """Lease one due mail. Locks its row, passing over those that another deliverer has locked."""
    due = (
        select(col(Outbox.id))
        .where(col(Outbox.delivered_at).is_(None), col(Outbox.next_attempt_at) <= func.now())
        .order_by(col(Outbox.next_attempt_at), col(Outbox.id))
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    lease = (
        update(Outbox)
        .where(col(Outbox.id) == due)
        .values(attempts=col(Outbox.attempts) + 1, next_attempt_at=func.now() + LEASE)
        .returning(Outbox)
        .execution_options(synchronize_session=False)
    )
    async with sessions.begin() as session:
        return (await session.execute(lease)).scalar_one_or_none()


async def _attempt(mail: Outbox, send: Send, public_url: str) -> str | None:
    """Send one mail; return what went wrong, or None."""
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await send(_message(mail, public_url))
    except Exception as error:  # noqa: BLE001 - whatever one mail does, the others are sent
        log.warning(
            "mail %s (%s) to %s failed at attempt %s: %s",
            mail.id,
            mail.template,
            _domain(mail.recipient),
            mail.attempts,
            type(error).__name__,
        )
        return _described(error, secret=str(mail.payload.get("token", "")))
    return None


async def _settle(sessions: async_sessionmaker[AsyncSession], mail: Outbox, error: str | None) -> None:
    """Mark a mail delivered, or due again later."""
    outcome = update(Outbox).where(col(Outbox.id) == mail.id)
    values: dict[str, Any]
    if error is None:
        values = {"delivered_at": func.now(), "last_error": None}
        if "token" in mail.payload:
            values["payload"] = {}
    else:
        # Whoever outlived the lease has no say any more: another attempt runs, or has delivered.
        outcome = outcome.where(col(Outbox.attempts) == mail.attempts, col(Outbox.delivered_at).is_(None))
        values = {"last_error": error, "next_attempt_at": func.now() + _pause(mail.attempts)}
    async with sessions.begin() as session:
        await session.execute(outcome.values(**values).execution_options(synchronize_session=False))


def _pause(attempts: int) -> timedelta:
    doubled = FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 20)
    jitter = random.uniform(1, 1.1)  # noqa: S311 - it spreads retries and guards nothing
    return timedelta(seconds=min(doubled, LONGEST_PAUSE_SECONDS) * jitter)


def _message(mail: Outbox, public_url: str) -> EmailMessage:
    """Return the mail without its sender, whom `sender` adds."""
    subject, text = render(mail.template, mail.payload, public_url=public_url)
    message = EmailMessage()
    message["To"] = _address(mail.recipient)
    message["Subject"] = subject
    message["Date"] = now()
    host = (urlsplit(public_url).hostname or "localhost").replace(":", ".")  # colons: IPv6
    message["Message-ID"] = f"<{mail.id}@{host}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes in answer
    message[TEMPLATE_HEADER] = mail.template
    message.set_content(text, cte="quoted-printable")  # any mail server takes it, lines of any length
    return message


def _address(recipient: str) -> Address:
    """Return exactly one address: a comma or a bracket in the name makes no second recipient."""
    name, _, domain = recipient.rpartition("@")
    return Address(username=name, domain=Address(addr_spec=f"x@{domain}").domain)


def _domain(recipient: str) -> str:
    return one_line(recipient.rpartition("@")[2], max_length=MAX_ERROR)


def _described(error: Exception, *, secret: str) -> str:
    """Return what the operator can act on, without the token that a mail server may quote."""
    text = ""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        text = str(error.code)
    elif isinstance(error, aiosmtplib.SMTPException | OSError | KeyError):
        text = str(error)
    if secret:
        text = text.replace(secret, "…")
    return one_line(f"{type(error).__name__}: {text}".rstrip(": "), max_length=MAX_ERROR)


def sender(settings: Settings) -> Send:
    """Return what sends a mail: to the mail server of the settings, or to the log if there is none.

    `smtp://` takes STARTTLS when the server offers it, `smtps://` is TLS from the start; the port
    is 25 or 465 where none is given.

    Raises:
        ConfigurationError: the sender is not one address, or the server's URL is none.
    """
    mail_from = _mailbox(settings.mail_from)
    if settings.smtp_url:
        return partial(_send_by_smtp, mail_from=mail_from, **_server(settings.smtp_url))
    if settings.production:
        log.warning("COMMONWEAL_SMTP_URL is not set: mails go nowhere")
        return _log_envelope
    return _log_mail


def _mailbox(text: str) -> Address:
    try:
        holder = EmailMessage()
        holder["From"] = text
        (address,) = holder["From"].addresses
    except (ValueError, MessageError):
        address = None
    if address is None or not (address.username and address.domain):
        raise ConfigurationError(f"COMMONWEAL_MAIL_FROM is not one address: {text!r}")
    assert isinstance(address, Address)
    return address


def _server(url: str) -> dict[str, Any]:
    """Return aiosmtplib's arguments. The errors do not repeat the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError("COMMONWEAL_SMTP_URL is not a URL") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ConfigurationError("COMMONWEAL_SMTP_URL is neither smtp://… nor smtps://…")
    return {
        "hostname": parts.hostname,
        "port": port or _PORTS[parts.scheme],
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "use_tls": parts.scheme == "smtps",
    }


async def _send_by_smtp(message: EmailMessage, *, mail_from: Address, **server: Any) -> None:
    message["From"] = mail_from
    await aiosmtplib.send(message, timeout=SMTP_STEP_SECONDS, **server)


async def _log_mail(message: EmailMessage) -> None:
    log.info("mail to %s: %s\n%s", message["To"], message["Subject"], message.get_content())


async def _log_envelope(message: EmailMessage) -> None:
    log.info("mail %s to %s not sent", message[TEMPLATE_HEADER], _domain(str(message["To"])))


async def run(
    sessions: async_sessionmaker[AsyncSession],
    settings: Settings,
    *,
    also: Sequence[Job] = (),
    stop: asyncio.Event,
) -> None:
    """Deliver mails, and do the other jobs, again and again until `stop` is set.

    Each job of `also` gets a session of its own, which is committed. Jobs run side by side, so that
    a slow mail server keeps nothing else. One that fails is logged and runs again.
    """
    public_url = settings.public_url or f"http://{settings.host}:{settings.port}"
    deliver = partial(deliver_due, sessions, send=sender(settings), public_url=public_url, stop=stop)
    jobs: list[Callable[[], Awaitable[object]]]
    jobs = [deliver, *(partial(_in_session, sessions, job) for job in also)]
    pause = settings.outbox_interval_ms / 1000
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_repeat(job, pause, stop)) for job in jobs]
        await stop.wait()
        _, late = await asyncio.wait(tasks, timeout=GRACE_SECONDS)
        for task in late:
            task.cancel()


async def _in_session(sessions: async_sessionmaker[AsyncSession], job: Job) -> None:
    async with sessions.begin() as session:
        await job(session)


async def _repeat(job: Callable[[], Awaitable[object]], pause: float, stop: asyncio.Event) -> None:
    wait = pause
    while not stop.is_set():
        try:
            await job()
            wait = pause
        except Exception as error:  # noqa: BLE001 - a job that fails is tried again, for ever
            _log_failure(error)
            wait = min(wait * 2, max(pause, LONGEST_LOOP_PAUSE_SECONDS))
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait)


def _log_failure(error: Exception) -> None:
    """Log a fault with its traceback; a database that is away, again and again, in a line."""
    if isinstance(error, OperationalError | OSError):
        log.warning("background job failed: %s", type(error).__name__)
    else:
        log.error("background job failed", exc_info=error)
