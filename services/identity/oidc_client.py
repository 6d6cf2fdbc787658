"""Talks to OpenID providers: what they publish, and the exchange of a code for a proved identity.

Every answer is bounded in size and time, and no redirect is followed.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast
from urllib.parse import quote, urlencode

import httpx
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from services.core.errors import WHOLE_INPUT, InvalidState
from services.identity.oidc_providers import Claims, CodeRequest, Provider, is_safe_url

MAX_BYTES = 256 * 1024
TOTAL_SECONDS = 6.0
CACHE_SECONDS = 3600
KEYS_AGAIN_SECONDS = 60
"""A key that is not known is looked for at most this often."""
LEEWAY_SECONDS = 60
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by the provider's private key alone: neither `none`, nor one made with the client secret."""
SCOPES = "openid email profile"
MAX_SUBJECT = 255
_OK = 200


class ProviderFailed(InvalidState):
    """The sign-in with this provider did not work. Start again."""

    def __init__(self, message: str) -> None:
        """Keep what did not work."""
        super().__init__(message, field=WHOLE_INPUT)


@dataclass
class _Published:
    """What a provider publishes of itself, and when it was read."""

    metadata: Mapping[str, Any]
    keys: KeySet
    read_at: float
    keys_read_at: float


@lru_cache(maxsize=32)
def client_of(provider: Provider) -> "ProviderClient":
    """Return the client of a provider, which remembers what the provider publishes."""
    return ProviderClient(provider)


class ProviderClient:
    """Signs people in at one provider: authorization code flow with PKCE."""

    def __init__(self, provider: Provider) -> None:
        """Read nothing yet."""
        self._provider = provider
        self._published: _Published | None = None
        self._lock = asyncio.Lock()

    async def authorization_url(self, request: CodeRequest, *, state: str) -> str:
        """Return the provider's page to which the browser is sent.

        Raises:
            ProviderFailed: what the provider publishes cannot be read.
        """
        metadata = (await self._load()).metadata
        parameters = {
            "response_type": "code",
            "client_id": self._provider.client_id,
            "redirect_uri": request.redirect_uri,
            "scope": SCOPES,
            "state": state,
            "nonce": request.nonce,
            "code_challenge": create_s256_code_challenge(request.verifier),
            "code_challenge_method": "S256",
        }
        page = str(metadata["authorization_endpoint"])
        return f"{page}{'&' if '?' in page else '?'}{urlencode(parameters, quote_via=quote)}"

    async def redeem(self, request: CodeRequest, *, code: str, issuer: str | None) -> Claims:
        """Exchange a code for the identity that it proves; `issuer` is what the redirect named, if it did.

        Raises:
            ProviderFailed: another issuer answered, the code is not accepted, or the id token does not hold.
        """
        published = await self._load()
        must_name = published.metadata.get("authorization_response_iss_parameter_supported") is True
        if issuer != self._provider.issuer and (issuer is not None or must_name):
            raise ProviderFailed("Another provider has answered. Start the sign-in again.")
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": request.redirect_uri,
            "code_verifier": request.verifier,
            "client_id": self._provider.client_id,
        }
        auth = self._authenticate(published.metadata, fields)
        answer = await _read_json(str(published.metadata["token_endpoint"]), fields=fields, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderFailed("The provider has not accepted the code. Start the sign-in again.")
        claims = await self._verify(token, request.nonce, access_token=answer.get("access_token"))
        return _to_claims(claims, issuer=self._provider.issuer)

    def _authenticate(self, metadata: Mapping[str, Any], fields: dict[str, str]) -> httpx.Auth | None:
        """Return how this server shows its secret; in the fields where the provider takes it nowhere else."""
        client_id, secret = self._provider.client_id, self._provider.client_secret
        methods = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if secret and "client_secret_basic" not in methods and "client_secret_post" in methods:
            fields["client_secret"] = secret
            return None
        return httpx.BasicAuth(quote(client_id, safe=""), quote(secret, safe="")) if secret else None

    async def _verify(self, token: str, nonce: str, *, access_token: object) -> Mapping[str, Any]:
        """Return the claims of an id token whose signature, issuer, audience, times and nonce hold."""
        published = await self._load()
        try:
            try:
                decoded = jwt.decode(token, published.keys, algorithms=list(ALGORITHMS))
            except (InvalidKeyIdError, ValueError):
                decoded = jwt.decode(token, await self._reload_keys(), algorithms=list(ALGORITHMS))
            options = {
                "iss": {"essential": True, "value": self._provider.issuer},
                "aud": {"essential": True, "value": self._provider.client_id},
                "nonce": {"essential": True, "value": nonce},
                "exp": {"essential": True},
                "iat": {"essential": True},
            }
            given = {"nonce": nonce, "client_id": self._provider.client_id, "access_token": access_token}
            claims = CodeIDToken(decoded.claims, decoded.header, options, given)
            claims.validate(leeway=LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, KeyError):
            raise ProviderFailed("The provider's answer is not valid. Start the sign-in again.") from None
        return dict(claims)

    async def _load(self) -> _Published:
        """Read what the provider publishes, unless it was read within the hour."""
        async with self._lock:
            known = self._published
            if known is None or time.monotonic() - known.read_at > CACHE_SECONDS:
                issuer = self._provider.issuer
                metadata = await _read_json(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
                if metadata.get("issuer") != issuer:
                    raise ProviderFailed("The provider publishes another issuer than it is set up with.")
                for key in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    _require_safe(str(metadata.get(key, "")), issuer)
                keys = await _read_keys(str(metadata["jwks_uri"]))
                at = time.monotonic()
                self._published = known = _Published(metadata, keys, at, at)
            return known

    async def _reload_keys(self) -> KeySet:
        """Read the provider's keys again if it has had time to change them."""
        async with self._lock:
            known = self._published
            assert known is not None
            if time.monotonic() - known.keys_read_at > KEYS_AGAIN_SECONDS:
                known.keys_read_at = time.monotonic()
                known.keys = await _read_keys(str(known.metadata["jwks_uri"]))
            return known.keys


def _require_safe(url: str, issuer: str) -> None:
    """Require an address by HTTPS, or on this machine if the provider itself is there."""
    if not is_safe_url(url) or (issuer.startswith("https:") and not url.startswith("https:")):
        raise ProviderFailed("The provider publishes an address that is not https://.")


async def _read_keys(url: str) -> KeySet:
    try:
        return KeySet.import_key_set(cast("Any", await _read_json(url)))
    except (JoseError, ValueError, TypeError, KeyError):
        raise ProviderFailed("The provider's keys cannot be read.") from None


def _to_claims(claims: Mapping[str, Any], *, issuer: str) -> Claims:
    subject, email, name = claims.get("sub"), claims.get("email"), claims.get("name")
    if not isinstance(subject, str) or not subject.isprintable() or not 0 < len(subject) <= MAX_SUBJECT:
        raise ProviderFailed("The provider names nobody.")
    return Claims(
        issuer,
        subject,
        name=name if isinstance(name, str) else "",
        email=email if isinstance(email, str) and email else None,
        is_email_verified=claims.get("email_verified") is True,
    )


async def _read_json(
    url: str, *, fields: Mapping[str, str] | None = None, auth: httpx.Auth | None = None
) -> dict[str, Any]:
    """Read a JSON object: by GET, or by POST if there are fields.

    Raises:
        ProviderFailed: it is none, too long or too slow, or the provider refuses.
    """
    method = "GET" if fields is None else "POST"
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    body = bytearray()
    try:
        async with (
            asyncio.timeout(TOTAL_SECONDS),
            httpx.AsyncClient(verify=_tls(), timeout=TOTAL_SECONDS, follow_redirects=False) as client,
            client.stream(method, url, data=fields, auth=auth, headers=headers) as response,
        ):
            async for part in response.aiter_raw():
                body += part
                if len(body) > MAX_BYTES:
                    raise ProviderFailed("The provider's answer is too long.")
            status = response.status_code
        answer = json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError):
        raise ProviderFailed("The provider cannot be reached. Try again later.") from None
    except (ValueError, RecursionError):
        raise ProviderFailed("The provider's answer cannot be read.") from None
    if status != _OK or not isinstance(answer, dict):
        raise ProviderFailed("The provider has refused the sign-in. Start again.")
    return answer


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
