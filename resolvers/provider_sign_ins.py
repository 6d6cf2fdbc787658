"""Sign-ins with other providers. No database connection is held while a provider is asked."""

from typing import TYPE_CHECKING
from uuid import UUID

from models import Identity
from resolvers.context import Context, Info
from resolvers.identity import origin_of, require_password_of
from services.access.permissions import Action, require
from services.core import slow_modules
from services.core.errors import WHOLE_INPUT, Invalid, NotFound
from services.identity import authentication, identities, oidc_providers, provider_sign_ins
from services.identity.oidc_providers import CodeRequest, Provider
from services.identity.provider_sign_ins import Outcome
from services.volunteering import issuers

if TYPE_CHECKING:
    from services.identity.oidc_client import ProviderClient

CALLBACK = "/sign-in/oidc/{name}/callback"


async def begin_sign_in(info: Info, *, provider: str, next_path: str | None, link: bool) -> str:
    """Begin a sign-in, or the linking of an identity; return the provider's page.

    Raises:
        ProviderFailed: the provider cannot be reached.
    """
    context = info.context
    chosen = _require_provider(context, provider)
    path = provider_sign_ins.require_own_path(next_path)
    if link:
        require(context.actor, Action.LINK_IDENTITY)
    await _require_alone(context)
    client = await _load_client(chosen)
    browser_key = context.session_cookie.keep_browser()
    state = await context.in_own_transaction(
        provider_sign_ins.begin_sign_in,
        context.actor,
        provider=chosen,
        browser_key=browser_key,
        next_path=path,
        link=link,
    )
    return await client.authorization_url(_code_request(context, chosen, browser_key, state), state=state)


async def complete(info: Info, *, provider: str, state: str, code: str, issuer: str | None) -> Outcome:
    """Redeem the code of a sign-in that this browser began, once.

    Raises:
        NotFound: it was begun elsewhere, was used before, or is over.
        ProviderFailed: the code or what it proves does not hold.
    """
    context = info.context
    chosen = _require_provider(context, provider)
    browser_key = context.session_cookie.old_browser
    await _require_alone(context)
    await context.in_own_transaction(
        provider_sign_ins.use, provider=chosen, state=state, browser_key=browser_key
    )
    request = _code_request(context, chosen, browser_key or "", state)
    client = await _load_client(chosen)
    claims = await client.redeem(request, code=code, issuer=issuer)
    origin = origin_of(context)
    outcome = await context.run(
        provider_sign_ins.finish, provider=chosen, state=state, claims=claims, origin=origin
    )
    if outcome.address_to_sign_up is None:
        return outcome
    started = await context.run(
        issuers.claim_with_identity,
        address=outcome.address_to_sign_up,
        claims=claims,
        provider=chosen,
        origin=origin,
    )
    return Outcome(outcome.next_path, session=started)


async def link_account(info: Info, *, provider: str, state: str, password: str) -> Outcome:
    """Link a proved identity to the account of its address with the account's password, and sign in.

    Raises:
        RateLimited: too many failures on the account or from the network address.
        Busy: too many others are signing in.
    """
    context = info.context
    chosen = _require_provider(context, provider)
    browser_key = context.session_cookie.old_browser
    address = await context.run_without_viewer(
        provider_sign_ins.find_account_to_link, state=state, browser_key=browser_key
    )
    candidate, counted = await require_password_of(context, email=address, password=password)
    user_id = await context.run_without_viewer(authentication.require_unchanged, candidate)
    outcome = await context.run(
        provider_sign_ins.link_account,
        provider=chosen,
        state=state,
        browser_key=browser_key,
        user_id=user_id,
        origin=origin_of(context),
    )
    await context.run_without_viewer(counted.forget)
    return outcome


async def unlink(info: Info, *, identity_id: UUID) -> Identity:
    """Unlink one of the viewer's identities."""
    return await info.context.run(identities.unlink, identity_id=identity_id)


async def _load_client(provider: Provider) -> "ProviderClient":
    """Return the client of a provider; most servers never load it."""
    module = await slow_modules.load("services.identity.oidc_client")
    client: ProviderClient = module.client_of(provider)
    return client


async def _require_alone(context: Context) -> None:
    """Return the connection before a provider is asked, which takes as long as the provider likes.

    Raises:
        Invalid: other fields of the operation hold it.
    """
    if not await context.release():
        raise Invalid("Send this mutation in an operation of its own.", field=WHOLE_INPUT)


def _require_provider(context: Context, name: str) -> Provider:
    provider = oidc_providers.find(context.settings.oidc_providers, name)
    if provider is None:
        raise NotFound("There is no such provider.", field="provider")
    return provider


def _code_request(context: Context, provider: Provider, browser_key: str, state: str) -> CodeRequest:
    settings = context.settings
    base = (settings.public_url or f"http://{settings.host}:{settings.port}").rstrip("/")
    return provider_sign_ins.derive_secrets(
        browser_key=browser_key, state=state, redirect_uri=base + CALLBACK.format(name=provider.name)
    )
