"""Delivers the mails of the outbox at least once, from any number of processes.

Mails are claimed by a lease, a later `next_attempt_at`, in a transaction that ends before the mail server is
contacted: however slow that server is, no connection stays in a transaction and no row stays locked. If a
process dies between claiming a mail and marking it as delivered, the mail is due again when the lease ends.
It has the same Message-ID, so that the receiver can drop the duplicate. A few mails are claimed together;
what took a while to send is marked before the next mail is sent.
"""

import asyncio
import logging
import random
import time
from collections import deque
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
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models import Outbox
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from services.messaging import failures, leases
from services.messaging.failures import MAX_ERROR_LENGTH, Failure
from services.messaging.leases import ClaimedMail, Outcome
from services.messaging.links import Links
from services.messaging.mime_messages import TEMPLATE_HEADER, build_message, read_text
from services.messaging.rendering import render, to_one_line

__all__ = ["Send", "deliver_due", "make_sender", "render", "run", "try_server"]

LANES = (0, 1)
CLAIMED_AT_ONCE = 10
SEND_SECONDS = 60
"""Limit for one mail; well below the lease, so that no other process sends it meanwhile."""
RECORD_AT_ONCE_SECONDS = 0.05
"""A mail that took longer is marked before the next: a process that dies leaves few that are sent twice."""
SMTP_STEP_SECONDS = 10
FIRST_RETRY_SECONDS = 60
MAX_RETRY_SECONDS = 6 * 60 * 60
GRACE_SECONDS = 5
"""For the mail being sent when the server stops."""
MAX_LOOP_PAUSE_SECONDS = 10
_PORTS = {"smtp": 25, "smtps": 465}

Send = Callable[[EmailMessage], Awaitable[None]]

log = logging.getLogger("commonweal.mail")


async def deliver_due(
    sessions: async_sessionmaker[AsyncSession],
    *,
    send: Send,
    links: Links,
    batch: int = 50,
    stop: asyncio.Event | None = None,
    lane: int | None = None,
) -> int:
    """Send at most `batch` mails of a lane, or of all, the longest due first; return how many were delivered.

    A background job with its own sessions. Besides the unit of work and the command line it is the only
    code that commits, because each claim and outcome must last whatever happens to the next mail. A mail
    that fails is retried after its own delay and holds up no other; only database errors are raised. `stop`
    ends the job after the present mail.
    """
    delivered = claimed_count = 0
    outcomes: list[dict[str, Any]] = []
    while claimed_count < batch and not (stop is not None and stop.is_set()):
        count = min(CLAIMED_AT_ONCE, batch - claimed_count)
        claimed = await leases.exchange(sessions, outcomes, lane=lane, count=count)
        outcomes = []
        if not claimed:
            break
        claimed_count += len(claimed)
        turn = _Turn(sessions, claimed, outcomes)
        delivered += await turn.send_all(send, links, stop=stop)
    await leases.record(sessions, outcomes)
    return delivered


class _Turn:
    """The sending of the mails of one claim, and what became of those that is not recorded yet."""

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        claimed: Sequence[ClaimedMail],
        outcomes: list[dict[str, Any]],
    ) -> None:
        self._sessions, self._left, self._outcomes = sessions, deque(claimed), outcomes

    async def send_all(self, send: Send, links: Links, *, stop: asyncio.Event | None) -> int:
        """Send the mails as long as their lease is sure to last; return how many were delivered."""
        delivered, until = 0, time.monotonic() + leases.LEASE.total_seconds() - 2 * SEND_SECONDS
        try:
            while self._left and not (stop is not None and stop.is_set()) and time.monotonic() < until:
                claimed, started = self._left.popleft(), time.monotonic()
                build = partial(
                    build_message,
                    claimed.mail,
                    links,
                    locale=claimed.locale,
                    stop_token=claimed.stop_token,
                )
                error = await _try_send(claimed.mail, send, build)
                delivered += error is None
                self._outcomes.append(_describe(claimed, error))
                if time.monotonic() - started > RECORD_AT_ONCE_SECONDS:
                    await self._record()
        except asyncio.CancelledError:
            self._give_back()
            await self._record()
            raise
        self._give_back()
        return delivered

    def _give_back(self) -> None:
        """Let others have the mails whose turn did not come."""
        self._outcomes.extend(leases.describe_outcome(mail, Outcome.UNSENT) for mail in self._left)
        self._left.clear()

    async def _record(self) -> None:
        recorded = list(self._outcomes)
        self._outcomes.clear()
        await leases.record(self._sessions, recorded)


async def _try_send(mail: Outbox, send: Send, build: Callable[[], EmailMessage]) -> Failure | None:
    """Send one mail; return the failure, or None."""
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await send(build())
    except Exception as error:  # noqa: BLE001 - one bad mail must not stop the others
        log.warning(
            "mail %s (%s) to %s failed at attempt %s: %s",
            mail.id,
            mail.template,
            _domain_of(mail.recipient),
            mail.attempts,
            type(error).__name__,
        )
        return failures.describe(error, secret=str(mail.payload.get("token", "")))
    return None


def _describe(claimed: ClaimedMail, error: Failure | None) -> dict[str, Any]:
    """Describe a mail as delivered or as refused for good, or its next attempt."""
    if error is None:
        return leases.describe_outcome(claimed, Outcome.DELIVERED)
    if error.is_permanent:
        return leases.describe_outcome(claimed, Outcome.REFUSED, error=error.text)
    delay = _retry_delay(claimed.mail.attempts)
    return leases.describe_outcome(claimed, Outcome.FAILED, error=error.text, delay=delay)


def _retry_delay(attempts: int) -> timedelta:
    doubled = FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, 20)
    jitter = random.uniform(1, 1.1)  # noqa: S311 - spreads retries, no secret
    return timedelta(seconds=min(doubled, MAX_RETRY_SECONDS) * jitter)


def _domain_of(recipient: str) -> str:
    return to_one_line(recipient.rpartition("@")[2], max_length=MAX_ERROR_LENGTH)


def make_sender(settings: Settings) -> Send:
    """Return a function that sends mails, or logs them if no server is configured.

    `smtp://` uses STARTTLS if the server offers it, `smtps://` uses TLS from the start. The default ports
    are 25 and 465.

    Raises:
        ConfigurationError: the sender is not one address, or the server's URL is invalid.
    """
    mail_from = _parse_mailbox(settings.mail_from)
    if settings.smtp_url:
        return partial(_send_by_smtp, mail_from=mail_from, **_parse_server(settings.smtp_url))
    if settings.production:
        log.warning("COMMONWEAL_SMTP_URL is not set: no mails are sent")
        return _log_envelope
    return _log_mail


def _parse_mailbox(text: str) -> Address:
    try:
        holder = EmailMessage()
        holder["From"] = text
        (address,) = holder["From"].addresses
    except (ValueError, MessageError):
        address = None
    if address is None or not (address.username and address.domain):
        raise ConfigurationError(f"COMMONWEAL_MAIL_FROM must be exactly one address: {text!r}")
    assert isinstance(address, Address)
    return address


def _parse_server(url: str) -> dict[str, Any]:
    """Return aiosmtplib's arguments. Errors do not repeat the URL, which may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError("COMMONWEAL_SMTP_URL is not a URL") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ConfigurationError("COMMONWEAL_SMTP_URL must start with smtp:// or smtps://")
    return {
        "hostname": parts.hostname,
        "port": port or _PORTS[parts.scheme],
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "use_tls": parts.scheme == "smtps",
    }


async def try_server(url: str, *, step_seconds: float) -> None:
    """Connect and sign in at the mail server of a URL as for a mail, and send none.

    Raises:
        OSError, UnicodeError, aiosmtplib.SMTPException: it does not answer as it should.
    """
    async with aiosmtplib.SMTP(timeout=step_seconds, **_parse_server(url)) as server:
        await server.noop()


async def _send_by_smtp(message: EmailMessage, *, mail_from: Address, **server: Any) -> None:
    message["From"] = mail_from
    await aiosmtplib.send(message, timeout=SMTP_STEP_SECONDS, **server)


async def _log_mail(message: EmailMessage) -> None:
    log.info("mail to %s: %s\n%s", message["To"], message["Subject"], read_text(message))


async def _log_envelope(message: EmailMessage) -> None:
    log.info("mail %s to %s not sent", message[TEMPLATE_HEADER], _domain_of(str(message["To"])))


async def run(sessions: async_sessionmaker[AsyncSession], settings: Settings, *, stop: asyncio.Event) -> None:
    """Deliver mails until `stop` is set; what fails is logged and done again."""
    deliver = partial(deliver_due, sessions, send=make_sender(settings), links=Links.of(settings), stop=stop)
    pause = settings.outbox_interval_ms / 1000
    async with asyncio.TaskGroup() as group:
        # Each lane has a loop of its own: no flood and no slow mail delays a reset.
        lanes = [group.create_task(_repeat(partial(deliver, lane=lane), pause, stop)) for lane in LANES]
        await stop.wait()
        _, late = await asyncio.wait(lanes, timeout=GRACE_SECONDS)
        for task in late:
            task.cancel()


async def _repeat(deliver: Callable[[], Awaitable[object]], pause: float, stop: asyncio.Event) -> None:
    wait = pause
    while not stop.is_set():
        try:
            await deliver()
            wait = pause
        except Exception as error:  # noqa: BLE001 - failing deliveries are retried forever
            _log_failure(error)
            wait = min(wait * 2, max(pause, MAX_LOOP_PAUSE_SECONDS))
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait)


def _log_failure(error: Exception) -> None:
    """Log an error with its traceback; one line if the database or network is unavailable."""
    if isinstance(error, OperationalError | OSError):
        log.warning("mails could not be read: %s", type(error).__name__)
    else:
        log.error("mails could not be read", exc_info=error)
