"""A real OpenID provider on loopback, as a process of its own, whose answers a test can have spoilt."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx


@dataclass
class OidcProvider:
    """A running provider."""

    url: str

    @property
    def issuer(self) -> str:
        """The name under which it issues tokens."""
        return self.url

    def has_user(self, subject: str, **claims: object) -> None:
        """Make a person known to the provider."""
        httpx.put(f"{self.url}/users/{subject}", json=claims).raise_for_status()

    def spoil(self, **answers: Any) -> None:
        """Spoil the answers of paths from now on: `token`, `discovery` or `jwks`; nothing, if none is named.

        Each names the members to set in its answer; `_bytes` makes it so much longer, `_seconds` late.
        """
        httpx.put(f"{self.url}/_spoil", json=answers).raise_for_status()

    def seen(self) -> list[dict[str, Any]]:
        """Return the parameters of the requests for codes and tokens so far."""
        requests: list[dict[str, Any]] = httpx.get(f"{self.url}/_seen").json()
        return requests

    def answer(self) -> dict[str, Any]:
        """Return the latest answer that held a token."""
        token: dict[str, Any] = httpx.get(f"{self.url}/_answer").json()
        return token

    def redeem(self, fields: dict[str, str]) -> dict[str, Any]:
        """Redeem a code, as a client would."""
        answer = httpx.post(f"{self.url}/oauth2/token", data=fields, auth=(fields["client_id"], "s"))
        token: dict[str, Any] = answer.json()
        return token

    def sign_in(self, page: str, subject: str) -> str:
        """Sign a person in on the provider's page; return the path of ours to which it sends them."""
        redirect = httpx.post(page, data={"sub": subject}, follow_redirects=False)
        assert redirect.status_code == 302, redirect.text[:500]
        parts = urlsplit(redirect.headers["location"])
        return f"{parts.path}?{parts.query}"


@contextmanager
def run_provider() -> Iterator[OidcProvider]:
    """Run a provider until the context ends."""
    environment = {**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.oidc_provider_process"],
        cwd=Path(__file__).parents[1],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield OidcProvider(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()
