"""The configurations of docs/proxies, run with Debian's nginx and Caddy."""

import asyncio
import os
import shutil
import ssl
import subprocess
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Database
from tests.free_ports import free_port
from tests.subscription_client import WAIT_SECONDS, ApiServer, connect_client, serve_in_process

CONFIGURATIONS = Path(__file__).parents[3] / "docs" / "proxies"
HOST = "api.example.org"
CLIENT = "127.0.0.2"
"""The address of the clients here: unlike 127.0.0.1 it is no trusted proxy's."""
NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr; {user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {blocks}
}}
"""


@dataclass(frozen=True)
class Proxy:
    """A running proxy and the server behind it."""

    name: str
    port: int
    api: ApiServer

    def client(self) -> httpx.AsyncClient:
        """Return a client from another address that calls the proxy by its public name."""
        transport = httpx.AsyncHTTPTransport(verify=False, local_address=CLIENT)
        return httpx.AsyncClient(
            transport=transport, base_url=f"https://127.0.0.1:{self.port}", headers={"Host": HOST}
        )

    def addresses(self) -> set[str]:
        """Return the network addresses that were charged."""
        app: Any = self.api.server.config.app
        return {key.removeprefix("address:") for key in app.state.buckets._leases}


def replace_once(text: str, old: str, new: str) -> str:
    """Replace a text that the configuration must contain."""
    assert old in text, old
    return text.replace(old, new)


def configure(name: str, folder: Path, *, port: int, upstream: str) -> list[str]:
    """Write the documented configuration with the test's ports and certificate; return the command."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", f"/CN={HOST}", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    file = folder / name
    if name == "nginx":
        text = (CONFIGURATIONS / "nginx.conf").read_text()
        text = replace_once(text, "127.0.0.1:8000", upstream)
        text = replace_once(text, "listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
        text = replace_once(text, "/etc/commonweal", str(folder))
        user = "user root;" if os.geteuid() == 0 else ""
        file.write_text(NGINX.format(folder=folder, blocks=text, user=user))
        return ["nginx", "-p", str(folder), "-c", str(file)]
    text = (CONFIGURATIONS / "Caddyfile").read_text()
    text = replace_once(text, "127.0.0.1:8000", upstream)
    site = f"https://{HOST}:{port} {{\n\ttls {certificate} {key}\n"
    text = replace_once(text, f"{HOST} {{\n", site)
    file.write_text("{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_sni " + HOST + "\n}\n" + text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[None]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


@pytest.fixture(scope="module", params=["nginx", "caddy"])
async def proxy(
    request: pytest.FixtureRequest,
    make_database: Callable[[], Database],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Proxy]:
    name: str = request.param
    if shutil.which(name) is None:
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(f"{name} is not installed")
        warnings.warn(f"SKIPPED LOUDLY: {name} is not installed", stacklevel=1)
        pytest.skip(f"{name} is not installed")
    folder, port = tmp_path_factory.mktemp(name), free_port()
    settings = make_database().settings
    async with serve_in_process(settings, public_url=f"https://{HOST}") as api:
        with running(configure(name, folder, port=port, upstream=api.address), folder):
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", port)
                    except OSError:
                        await asyncio.sleep(0.05)
                    else:
                        writer.close()
                        break
            yield Proxy(name, port, api)


async def test_the_client_behind_the_proxy_is_charged(proxy: Proxy) -> None:
    async with proxy.client() as client:
        response = await client.post(
            "/graphql",
            json={"query": "{ __typename }"},
            headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"},
            extensions={"sni_hostname": HOST},
        )
    assert response.json() == {"data": {"__typename": "Query"}}
    assert response.headers["strict-transport-security"] == "max-age=31536000"
    assert CLIENT in proxy.addresses()
    assert "203.0.113.9" not in proxy.addresses(), "what the client wrote is no proof of anything"


async def test_websockets_pass(proxy: Proxy) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    options: dict[str, Any] = {"ssl": trusting, "host": "127.0.0.1", "port": proxy.port}
    async with connect_client(HOST, scheme="wss", local_addr=(CLIENT, 0), **options) as client:
        await client.subscribe("{ __typename }")
        assert await client.next() == {"__typename": "Query"}


async def test_metrics_are_not_passed_on(proxy: Proxy) -> None:
    async with proxy.client() as client:
        response = await client.get("/metrics", extensions={"sni_hostname": HOST})
        assert response.status_code == 404


async def test_a_long_body_is_refused(proxy: Proxy) -> None:
    async with proxy.client() as client:
        try:
            response = await client.post(
                "/receipts", content=b"a" * 16_000_000, extensions={"sni_hostname": HOST}
            )
        except httpx.TransportError:
            return  # it was cut off before the answer could be read
        assert response.status_code in {401, 413}
