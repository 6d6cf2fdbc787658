"""People with second factors, and a passkey in software, for tests."""

import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import pyotp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import text
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, encode_cbor

from services.identity import passwords
from tests.factories import Person, World

PASSWORD = "correct horse"
STEP = 30
USER_PRESENT, USER_VERIFIED, HAS_CREDENTIAL = 0x01, 0x04, 0x40


async def with_password(world: World, person: Person) -> None:
    """Give a person the password of these tests."""
    secret = await passwords.hash_password(PASSWORD)
    async with world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE credential SET password_hash = :h WHERE user_id = :u"),
            {"h": secret, "u": person.user.id},
        )


async def age_confirmation(world: World, person: Person, minutes: int = 11) -> None:
    """Let a person's sessions have been confirmed some minutes ago."""
    async with world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE token SET confirmed_at = now() - make_interval(mins => :m) WHERE user_id = :u"),
            {"m": minutes, "u": person.user.id},
        )


async def run(world: World, mutation: str, fields: str, *, by: Person | str | None) -> dict[str, Any]:
    """Run a mutation without input; return its payload."""
    data = await world.query(f"mutation {{ {mutation} {{ {fields} errors {{ code message }} }} }}", by=by)
    payload: dict[str, Any] = data[mutation]
    return payload


def top_error(body: dict[str, Any]) -> dict[str, Any]:
    """Return the extensions of the only top-level error."""
    (error,) = body["errors"]
    extensions: dict[str, Any] = error["extensions"]
    return extensions


def steady() -> None:
    """Wait for the next step of authenticator apps if the present one is nearly over."""
    left = STEP - time.time() % STEP
    if left < 12:
        time.sleep(left + 0.1)


def code_of(secret: str, *, seconds: int = 0) -> str:
    """Return what an app with a clock some seconds off displays."""
    return pyotp.TOTP(secret).at(int(time.time()) + seconds)


async def with_app(world: World, person: Person) -> tuple[str, list[str]]:
    """Give a person an authenticator app, with a clock 30 seconds late; return its secret and codes."""
    steady()
    secret = (await run(world, "enrollTotp", "secret", by=person))["secret"]
    code = code_of(secret, seconds=-STEP)
    payload = await world.mutate("activateTotp", "recoveryCodes", by=person, code=code)
    assert payload["errors"] == []
    return secret, payload["recoveryCodes"]


@dataclass
class SoftPasskey:
    """A passkey as a browser and its device make it; each answer may be of another page or device."""

    origin: str = "http://localhost:8000"
    domain: str = "localhost"
    count: int = 0
    flags: int = USER_PRESENT | USER_VERIFIED
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def create(self, options: str) -> str:
        """Answer the options of a registration."""
        client_data = self._client_data("webauthn.create", options)
        attestation = {"fmt": "none", "attStmt": {}, "authData": self._data(has_credential=True)}
        return self._answer(clientDataJSON=client_data, attestationObject=encode_cbor(attestation))

    def sign(self, options: str) -> str:
        """Answer the options of a sign-in or confirmation, and count it."""
        self.count += 1
        client_data, data = self._client_data("webauthn.get", options), self._data()
        signed = data + hashlib.sha256(client_data).digest()
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return self._answer(clientDataJSON=client_data, authenticatorData=data, signature=signature)

    def _client_data(self, kind: str, options: str) -> bytes:
        challenge = json.loads(options)["challenge"]
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _data(self, *, has_credential: bool = False) -> bytes:
        flags = self.flags | (HAS_CREDENTIAL if has_credential else 0)
        head = hashlib.sha256(self.domain.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)
        if not has_credential:
            return head
        point = self.key.public_key().public_numbers()
        public = {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32), -3: point.y.to_bytes(32)}
        size = len(self.credential_id).to_bytes(2)
        return head + bytes(16) + size + self.credential_id + encode_cbor(public)

    def _answer(self, **response: bytes) -> str:
        name = bytes_to_base64url(self.credential_id)
        fields = {key: bytes_to_base64url(value) for key, value in response.items()}
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": fields})


async def with_passkey(world: World, person: Person) -> tuple[SoftPasskey, list[str]]:
    """Give a person a passkey; return it and the recovery codes."""
    passkey = SoftPasskey()
    options = (await run(world, "beginPasskeyRegistration", "options", by=person))["options"]
    payload = await world.mutate(
        "registerPasskey",
        "passkey { id name } recoveryCodes",
        by=person,
        credential=passkey.create(options),
        name="Phone",
    )
    assert payload["errors"] == []
    return passkey, payload["recoveryCodes"]


def challenge_of(options: str) -> bytes:
    """Return the challenge in a browser's options."""
    return base64url_to_bytes(json.loads(options)["challenge"])
