"""The providers that the settings offer."""

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import TypeAlias

from models.enums import ProviderName
from services.core.settings import Settings
from services.providers.fake import FakeProvider
from services.providers.protocol import PaymentProvider, ProviderAway

Providers: TypeAlias = Mapping[ProviderName, PaymentProvider]


NO_PROVIDERS: Providers = {}
CONNECTED_PATH = "/providers/{provider}/connected"
"""Where a provider sends a host that has agreed to be connected."""


def offered(settings: Settings) -> Providers:
    """Return the providers that are set up, by name; without settings there is none."""
    providers: dict[ProviderName, PaymentProvider] = {}
    if settings.fake_provider:
        providers[ProviderName.FAKE] = FakeProvider()
    if settings.stripe_secret:
        providers[ProviderName.STRIPE] = _load_stripe(
            settings.stripe_secret,
            settings.stripe_webhook_secret,
            settings.stripe_client_id,
            settings.stripe_api_url.rstrip("/"),
            _base_url(settings) + CONNECTED_PATH.format(provider="stripe"),
        )
    return providers


def require_offered(
    providers: Providers, name: ProviderName, *, livemode: bool | None = None
) -> PaymentProvider:
    """Return a provider of which there is work to do, in a mode if that matters.

    Raises:
        ProviderAway: the settings here do not offer it; a worker whose settings do takes up the work.
    """
    provider = providers.get(name)
    if provider is None or livemode not in {None, provider.livemode}:
        raise ProviderAway(f"The settings of this worker do not offer the payment provider {name}.")
    return provider


async def close(settings: Settings) -> None:
    """Close what the providers hold open in this event loop."""
    for provider in offered(settings).values():
        await provider.close()


@lru_cache(maxsize=8)
def _load_stripe(
    secret: str, webhook_secret: str, client_id: str, api_url: str, redirect_url: str
) -> PaymentProvider:
    """Return the provider of these settings; its library is loaded where it is offered alone."""
    module = import_module("services.providers.stripe_provider")
    provider: PaymentProvider = module.StripeProvider(
        module.StripeTerms(
            secret=secret,
            webhook_secret=webhook_secret,
            client_id=client_id,
            api_url=api_url,
            redirect_url=redirect_url,
        )
    )
    return provider


def _base_url(settings: Settings) -> str:
    return (settings.public_url or f"http://{settings.host}:{settings.port}").rstrip("/")
