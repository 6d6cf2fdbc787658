"""What an operator should know of the settings: whether what they name is there and works."""

import asyncio
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import aiosmtplib
import httpx

from services.core import file_stores, listeners
from services.core.errors import ConfigurationError
from services.core.file_stores import FileMissing, FileStore, StoreUnavailable
from services.core.settings import Settings
from services.identity import oidc_providers
from services.messaging import delivery
from services.operation.findings import Finding, State

_ANSWER_SECONDS = 5
_DISK_WARNING_BYTES, _DISK_WRONG_BYTES = 2_000_000_000, 200_000_000


def check_all(settings: Settings, *, is_embedded: bool) -> Iterator[Finding]:
    """Look at what the settings name: port, disk, mail server, sign-in providers, store of files."""
    yield _check_settings(settings, is_embedded=is_embedded)
    yield _check_port(settings)
    yield _check_disk(settings)
    yield _check_mail_server(settings)
    yield from _check_providers(settings)
    yield check_store(settings)


def _check_port(settings: Settings) -> Finding:
    """Try to listen where the server would; who listens there already should be a server of ours."""
    place = f"COMMONWEAL_HOST {settings.host} and COMMONWEAL_PORT {settings.port}"
    try:
        with ExitStack() as bound:
            for listener in listeners.bind_all(settings, bound):
                listener.listen()
        return Finding("port", State.GOOD, f"{settings.host}:{settings.port} is free")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            reason = error.strerror or str(error)
            return Finding("port", State.WRONG, f"{place} cannot be listened on: {reason}")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - compared
    url = httpx.URL(scheme="http", host=host, port=settings.port, path="/healthz")
    try:
        answer = httpx.get(url, timeout=_ANSWER_SECONDS, trust_env=False)
        is_ours = answer.json() == {"status": "ok"}
    except (httpx.HTTPError, ValueError):
        is_ours = False
    if is_ours:
        return Finding("port", State.GOOD, f"a server answers at {settings.host}:{settings.port}")
    return Finding("port", State.WRONG, f"{place} are another program's: choose another port, or stop it")


def _check_providers(settings: Settings) -> Iterator[Finding]:
    """Read what each provider of sign-ins publishes."""
    try:
        providers = oidc_providers.parse(settings.oidc_providers)
    except ConfigurationError as error:
        yield Finding("sign-in", State.WRONG, str(error))
        return
    for provider in providers:
        url = f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            found = httpx.get(url, timeout=_ANSWER_SECONDS).raise_for_status().json()
            wrong = "" if found["issuer"] == provider.issuer else f"it calls itself {found['issuer']}"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            wrong = f"{url} does not answer as a provider does: {type(error).__name__}"
        state = State.WRONG if wrong else State.GOOD
        yield Finding("sign-in", state, f"{provider.name} of COMMONWEAL_OIDC_PROVIDERS: {wrong or 'answers'}")


def _check_settings(settings: Settings, *, is_embedded: bool) -> Finding:
    warnings = []
    if not settings.secret_key:
        warnings.append(
            "COMMONWEAL_SECRET_KEY is empty: secrets of authenticator apps are stored as they are"
        )
    if settings.production and not settings.public_url.startswith("https://"):
        warnings.append("COMMONWEAL_PUBLIC_URL is not https://…: links in mails lead nowhere safe")
    if settings.production and is_embedded:
        warnings.append("the embedded database serves one machine, and nobody else looks after it")
    if settings.owner_database_url == settings.database_url and not is_embedded:
        warnings.append("COMMONWEAL_DATABASE_URL is the owner's: a login of its own can do less")
    if warnings:
        return Finding("settings", State.WARNING, "; ".join(warnings))
    return Finding("settings", State.GOOD, "valid")


def _check_disk(settings: Settings) -> Finding:
    folder = settings.data_dir
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Finding(
            "disk", State.WARNING, f"{folder} is no folder that can be written: no file can be uploaded"
        )
    free_bytes = shutil.disk_usage(folder).free
    state = State.GOOD
    if free_bytes < _DISK_WARNING_BYTES:
        state = State.WRONG if free_bytes < _DISK_WRONG_BYTES else State.WARNING
    return Finding("disk", state, f"{free_bytes // 1_000_000} MB are free in {folder}")


def _check_mail_server(settings: Settings) -> Finding:
    if not settings.smtp_url:
        state = State.WARNING if settings.production else State.GOOD
        return Finding("mail", state, "COMMONWEAL_SMTP_URL is empty: mails are logged, not sent")
    parts = urlsplit(settings.smtp_url)
    try:
        asyncio.run(delivery.try_server(settings.smtp_url, step_seconds=_ANSWER_SECONDS))
    except aiosmtplib.SMTPAuthenticationError:
        message = f"{parts.hostname} refuses the name and password of COMMONWEAL_SMTP_URL"
        return Finding("mail", State.WRONG, message)
    except (OSError, UnicodeError, aiosmtplib.SMTPException) as error:
        reason = type(error.__cause__ or error).__name__
        message = f"{parts.hostname} of COMMONWEAL_SMTP_URL does not answer as it should: {reason}"
        return Finding("mail", State.WRONG, message)
    return Finding("mail", State.GOOD, f"{parts.hostname} answers")


def check_store(settings: Settings) -> Finding:
    """Write, read and delete a file in the store of uploaded files."""
    name, arriving = "files", file_stores.working_folder(settings)
    if arriving.exists() and not (arriving.is_dir() and os.access(arriving, os.W_OK | os.X_OK)):
        message = f"{arriving} is no folder that this user can write: uploads arrive there"
        return Finding(name, State.WRONG, message)
    try:
        # What the store reads is copied first: not to the servers' folder, where it would be this user's.
        with tempfile.TemporaryDirectory(prefix="commonweal-doctor-") as folder:
            store = file_stores.open_store(replace(settings, data_dir=Path(folder)))
            if not settings.receipts_store:
                return Finding(name, State.GOOD, f"in {arriving}")
            asyncio.run(_try_store(store, Path(folder)))
    except (ConfigurationError, OSError) as error:
        return Finding(name, State.WRONG, str(error))
    except (StoreUnavailable, FileMissing) as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0][:200] or type(error).__name__
        return Finding(
            name,
            State.WRONG,
            f"{settings.receipts_store} does not store, return and delete files: {reason}. Check the bucket,"
            " AWS_ENDPOINT_URL, AWS_REGION and the rights of AWS_ACCESS_KEY_ID",
        )
    return Finding(name, State.GOOD, f"{store.place} stores, returns and deletes them")


async def _try_store(store: FileStore, folder: Path) -> None:
    content = f"commonweal doctor {uuid4()}".encode()
    trial = hashlib.sha256(content).hexdigest()
    source = folder / trial
    source.write_bytes(content)
    await store.put(trial, source)
    async with store.opened(trial):
        pass
    await store.delete([trial])
    await store.list_files()
