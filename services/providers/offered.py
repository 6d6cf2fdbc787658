"""The providers that the settings offer."""

from collections.abc import Mapping
from typing import TypeAlias

from models.enums import ProviderName
from services.core.settings import Settings
from services.providers.fake import FakeProvider
from services.providers.protocol import PaymentProvider

Providers: TypeAlias = Mapping[ProviderName, PaymentProvider]


NO_PROVIDERS: Providers = {}


def offered(settings: Settings) -> Providers:
    """Return the providers that are set up, by name; without settings there is none."""
    return {ProviderName.FAKE: FakeProvider()} if settings.fake_provider else {}
