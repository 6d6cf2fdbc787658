"""A pretended Stripe on loopback: localstripe as a process of its own, with what it lacks."""

import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from services.core.settings import Settings
from services.providers.stripe_provider import HEADER

SECRET, WEBHOOK_SECRET = "sk_test_commonweal", "whsec_commonweal"
CARD = "4242424242424242"
DECLINED = "4000000000000341"
NEEDS_STEP = "4000002500003155"


@dataclass
class StripeServer:
    """A running server."""

    url: str

    def settings(self, settings: Settings) -> Settings:
        """Return settings with which our server asks this one."""
        return replace(
            settings,
            stripe_secret=SECRET,
            stripe_webhook_secret=WEBHOOK_SECRET,
            stripe_client_id="ca_commonweal",
            stripe_public_key="pk_test_commonweal",
            stripe_api_url=self.url,
        )

    def set_up(self, **wanted: Any) -> list[dict[str, str]]:
        """Add `accounts`, and `codes` that connect them, or let accounts leave; return all requests.

        With a `status` other than 0, everything is answered with that from now on.
        """
        requests: list[dict[str, str]] = self._set_up(wanted)["requests"]
        return requests

    def _set_up(self, wanted: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.put(f"{self.url}/_config/set_up", json=wanted).json()
        return answer

    def ask(self, method: str, path: str, *, account: str, **data: str) -> dict[str, Any]:
        """Ask its API as an account."""
        answer = httpx.request(
            method,
            f"{self.url}/v1/{path}",
            data=data or None,
            headers={"Authorization": f"Bearer {SECRET}", "Stripe-Account": account},
        )
        found: dict[str, Any] = answer.json()
        return found

    def keep_card(self, *, account: str, number: str = CARD) -> tuple[str, str]:
        """Keep a card for a giver; return both their ids."""
        method = self._make_card(account, number)
        customer = self.ask("POST", "customers", account=account, description="A giver")["id"]
        self.ask("POST", f"payment_methods/{method}/attach", account=account, customer=customer)
        return method, str(customer)

    def _make_card(self, account: str, number: str) -> str:
        card = {"number": number, "exp_month": "12", "exp_year": "2099", "cvc": "123"}
        fields = {f"card[{name}]": value for name, value in card.items()}
        return str(self.ask("POST", "payment_methods", account=account, type="card", **fields)["id"])

    def pay(self, payment: str, *, account: str, number: str = CARD) -> None:
        """Pay as the giver does in Stripe's form."""
        path = f"payment_intents/{payment}/confirm"
        self.ask("POST", path, account=account, payment_method=self._make_card(account, number))

    def events(self, *, account: str) -> list[dict[str, Any]]:
        """Return what it would tell of an account; which account it is of, it does not tell by itself."""
        found = self.ask("GET", "events?limit=100", account=account)["data"]
        owners = self._set_up({})["owners"]
        return [event | {"account": account} for event in found if owners[event["id"]] == account]


def sign(body: bytes, *, at: float | None = None, secret: str = WEBHOOK_SECRET) -> Mapping[str, str]:
    """Return the headers with which Stripe sends a body now, or at `at`."""
    stamp = str(int(time.time() if at is None else at))
    proof = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {HEADER: f"t={stamp},v1={proof}"}


def encode(event: Mapping[str, Any]) -> bytes:
    """Return an event as it is sent."""
    return json.dumps(event).encode()


@contextmanager
def run_stripe() -> Iterator[StripeServer]:
    """Run a server until the context ends."""
    command = [sys.executable, "-m", "tests.stripe_server_process"]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield StripeServer(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.kill()
