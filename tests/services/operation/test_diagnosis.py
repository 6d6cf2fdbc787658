"""What the doctor says of each thing that may be wrong."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from models import now
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from services.operation import diagnosis, setting_diagnosis
from services.operation.findings import Finding, State
from tests.browser import skip_or_fail
from tests.conftest import Database
from tests.mail_world import MailServer, run_mail_server
from tests.subscription_client import serve_in_process


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Return another program's socket, which answers nothing it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def has_ipv6() -> bool:
    """True if the loopback of this machine has an address of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def look(settings: Settings, name: str) -> Finding:
    """Return the finding of a name."""
    (finding,) = [f for f in setting_diagnosis.check_all(settings, is_embedded=False) if f.name == name]
    return finding


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate that nobody trusts, and its key."""
    if (openssl := shutil.which("openssl")) is None:
        skip_or_fail("no openssl on the PATH")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(port=0, data_dir=tmp_path)


def test_a_free_port_is_good_and_one_of_another_program_is_not(
    settings: Settings, listener: socket.socket
) -> None:
    assert look(settings, "port").state is State.GOOD
    finding = look(replace(settings, port=port_of(listener)), "port")
    assert finding.state is State.WRONG
    assert "COMMONWEAL_PORT" in finding.message
    finding = look(replace(settings, host="192.0.2.1", port=8000), "port")
    assert finding.state is State.WRONG
    assert "COMMONWEAL_HOST 192.0.2.1" in finding.message


@pytest.mark.parametrize("host", ["::", "::1", "0.0.0.0", "localhost"])  # noqa: S104 - on a port of its own
def test_an_address_of_either_family_is_tried_as_the_server_would(settings: Settings, host: str) -> None:
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    assert look(replace(settings, host=host), "port").state is State.GOOD
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as taken:
        finding = look(replace(settings, host=host, port=port_of(taken)), "port")
    assert (finding.state, "another program's" in finding.message) == (State.WRONG, True)


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "no.such.host.invalid"])
def test_a_host_that_is_no_name_is_wrong(settings: Settings, host: str) -> None:
    finding = look(replace(settings, host=host), "port")
    assert (finding.state, f"COMMONWEAL_HOST {host}" in finding.message) == (State.WRONG, True)


async def test_a_port_with_our_server_is_good(settings: Settings, database: Database) -> None:
    async with serve_in_process(database.settings) as api:
        host, _, port = api.address.partition(":")
        mine = replace(settings, host=host, port=int(port))
        finding = await asyncio.to_thread(look, mine, "port")
    assert (finding.state, "a server answers" in finding.message) == (State.GOOD, True)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_mail_server_must_answer_and_take_the_password(
    settings: Settings,
) -> None:
    def check(_s: SMTP, _x: Session, _e: Envelope, _m: str, given: Any) -> AuthResult:
        is_right = isinstance(given, LoginPassword) and given.password == b"right"
        return AuthResult(success=is_right, handled=False)

    with socket.create_server(("127.0.0.1", 0)) as free:
        smtp = MailServer(port_of(free))
    with run_mail_server(smtp, authenticator=check, auth_require_tls=False, auth_required=True):
        place = f"127.0.0.1:{smtp.port}"
        assert look(replace(settings, smtp_url=f"smtp://me:right@{place}"), "mail").state is State.GOOD
        finding = look(replace(settings, smtp_url=f"smtp://me:hunter2@{place}"), "mail")
        assert finding.state is State.WRONG
        assert "password of COMMONWEAL_SMTP_URL" in finding.message
        assert "hunter2" not in finding.message
        assert look(replace(settings, smtp_url=f"smtps://me:right@{place}"), "mail").state is State.WRONG
    assert look(replace(settings, smtp_url="smtp://127.0.0.1:9"), "mail").state is State.WRONG
    assert look(replace(settings, production=True), "mail").state is State.WARNING


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_mail_servers_certificate_must_be_valid(settings: Settings, tmp_path: Path, scheme: str) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*make_certificate(tmp_path))
    options: dict[str, Any] = {"tls_context": tls} if scheme == "smtp" else {"ssl_context": tls}
    with socket.create_server(("127.0.0.1", 0)) as free:
        smtp = MailServer(port_of(free))
    with run_mail_server(smtp, **options):
        finding = look(replace(settings, smtp_url=f"{scheme}://127.0.0.1:{smtp.port}"), "mail")
    assert (finding.state, "SSLCertVerificationError" in finding.message) == (State.WRONG, True)


@pytest.mark.parametrize("place", ["a..b", "x" * 70 + ":25", "no.such.host.invalid", "127.0.0.1:1"])
def test_a_mail_server_that_is_not_there_is_named(settings: Settings, place: str) -> None:
    finding = look(replace(settings, smtp_url=f"smtp://{place}"), "mail")
    assert (finding.state, "COMMONWEAL_SMTP_URL" in finding.message) == (State.WRONG, True)


@pytest.mark.parametrize(
    "text", ["{", '[{"name": "x"}]', '[{"name": "x", "issuer": "ftp://y", "client_id": "z"}]']
)
def test_sign_in_providers_that_cannot_be_read_are_named(settings: Settings, text: str) -> None:
    finding = look(replace(settings, oidc_providers=text), "sign-in")
    assert finding.state is State.WRONG
    assert "COMMONWEAL_OIDC_PROVIDERS" in finding.message


def test_a_sign_in_provider_that_is_away_is_named(settings: Settings) -> None:
    entry = {
        "name": "corp",
        "label": "Corp",
        "issuer": "http://127.0.0.1:9",
        "client_id": "a",
        "client_secret": "hunter2",
    }
    finding = look(replace(settings, oidc_providers=orjson.dumps([entry]).decode()), "sign-in")
    assert finding.state is State.WRONG
    assert "corp of COMMONWEAL_OIDC_PROVIDERS" in finding.message
    assert "hunter2" not in finding.message


def test_a_folder_that_is_not_there_is_named(settings: Settings, tmp_path: Path) -> None:
    assert look(settings, "disk").state in {State.GOOD, State.WARNING}
    finding = look(replace(settings, data_dir=tmp_path / "none"), "disk")
    assert (finding.state, str(tmp_path) in finding.message) == (State.WARNING, True)


@pytest.mark.parametrize(
    ("ahead", "state"),
    [(0, State.GOOD), (10, State.WARNING), (-10, State.WARNING), (90, State.WRONG), (-90, State.WRONG)],
)
def test_clocks_that_differ_are_named(ahead: int, state: State) -> None:
    facts = {"clock": now() + timedelta(seconds=ahead), "last_posting_at": None}
    (finding,) = diagnosis._check_clocks(facts)
    assert finding.state is state


def test_a_posting_of_the_future_is_named() -> None:
    facts = {"clock": now(), "last_posting_at": now() + timedelta(hours=1)}
    clock, ledger = diagnosis._check_clocks(facts)
    assert (clock.state, ledger.state) == (State.GOOD, State.WRONG)


@pytest.mark.parametrize(("days", "state"), [(None, State.WARNING), (1, State.GOOD), (3, State.WARNING)])
def test_a_backup_that_is_old_or_none_is_named(days: int | None, state: State) -> None:
    last = None if days is None else now() - timedelta(days=days)
    assert diagnosis._check_backup({"clock": now(), "last_backup_at": last}).state is state


@pytest.mark.parametrize(
    ("hours", "violations", "state"),
    [(None, 0, State.WARNING), (1, 0, State.GOOD), (5, 0, State.WARNING), (1, 2, State.WRONG)],
)
def test_an_audit_that_is_old_or_found_something_is_named(
    hours: int | None, violations: int, state: State
) -> None:
    last = None if hours is None else now() - timedelta(hours=hours)
    facts = {"clock": now(), "last_audit_at": last, "violations": violations}
    assert diagnosis._check_audit(facts, Settings()).state is state


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 70_000},
        {"database_url": "mysql://db/commonweal"},
        {"smtp_url": "mail.example.org"},
        {"receipts_store": "receipts"},
    ],
)
def test_a_setting_that_cannot_be_right_is_named_before_anything_starts(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=f"COMMONWEAL_{name.upper()}"):
        Settings(**wrong)
