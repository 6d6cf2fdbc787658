"""The providers that the settings offer."""

from collections.abc import Mapping
from typing import TypeAlias

from models.enums import ProviderName
from services.core.settings import Settings
from services.providers.fake import FakeProvider
from services.providers.protocol import PaymentProvider, ProviderAway

Providers: TypeAlias = Mapping[ProviderName, PaymentProvider]


NO_PROVIDERS: Providers = {}


def offered(settings: Settings) -> Providers:
    """Return the providers that are set up, by name; without settings there is none."""
    return {ProviderName.FAKE: FakeProvider()} if settings.fake_provider else {}


def require_offered(providers: Providers, name: ProviderName) -> PaymentProvider:
    """Return a provider of which there is work to do.

    Raises:
        ProviderAway: the settings here do not offer it; a worker whose settings do takes up the work.
    """
    provider = providers.get(name)
    if provider is None:
        raise ProviderAway(f"The settings of this worker do not offer the payment provider {name}.")
    return provider
