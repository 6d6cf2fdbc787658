"""Settings: values that cannot be, and names that are misspelt, are told before anything starts."""

import pytest

from services.core import settings
from services.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PORT", "99999", "from 0 to 65535"),
        ("PORT", "-1", "from 0 to 65535"),
        ("PORT", "many", "int"),
        ("DATABASE_URL", "mysql://u:secret@h/x", "postgresql://"),
        ("OWNER_DATABASE_URL", "h/x", "postgresql://"),
        ("DATABASE_URL", "host=db password=secret dbname=x", "postgresql://"),
        ("DATABASE_URL", "mysql://h/x?user=a&password=secret", "postgresql://"),
        ("DATABASE_URL", "postgresql://u:secret@a:x,b:5433/x", "a:5432,b:5432"),
        ("DATABASE_URL", "postgresql://u:secret@a,b/x?port=99999", "a:5432,b:5432"),
        ("DATABASE_URL", "postgresql://u:secret@a/x?sslmod=require", "postgresql://"),
        ("POOLER", "session", "none or transaction"),
        ("SMTP_URL", "foo", "smtp://"),
        ("SMTP_URL", "smtp://", "names a host"),
        ("SMTP_URL", "smtp://u:secret@h:port", "smtp://"),
        ("PUBLIC_URL", "example.org", "https://"),
        ("PUBLIC_URL", "ftp://example.org", "https://"),
        ("LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING or ERROR"),
        ("INTROSPECTION", "perhaps", "on, authenticated or off"),
        ("POOL_SIZE", "-1", "not negative"),
        ("LIVE_HOURS", "-5", "not negative"),
        ("PRODUCTION", "maybe", "0 or 1"),
        ("MAX_COST", "0", "at least 1"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_its_name(name: str, value: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings.load({f"COMMONWEAL_{name}": value})
    message = str(caught.value)
    assert f"COMMONWEAL_{name}" in message
    assert told in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/x",
        "postgresql://u:p@[::1]:5432/x",
        "postgresql+psycopg://h/x",
        "postgresql:///x?host=/run/postgresql",
        "postgresql:///x?host=a:5432&host=b:5433",
        "postgresql://u:p@a:5432,b:5433/x?target_session_attrs=read-write",
        "postgresql://a,b/x",
    ],
)
def test_addresses_of_databases_may_name_no_host_or_several(url: str) -> None:
    assert settings.load({"COMMONWEAL_DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize(
    ("name", "meant"), [("COMMONWEAL_PROT", "COMMONWEAL_PORT"), ("COMMONWEAL_SMTPURL", "COMMONWEAL_SMTP_URL")]
)
def test_a_misspelt_name_is_told_with_the_one_meant(name: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is not a setting: did you mean {meant}"):
        settings.load({name: "1"})


def test_a_name_like_no_setting_is_told_and_others_are_left_alone() -> None:
    with pytest.raises(ConfigurationError, match="COMMONWEAL_ZZZ is not a setting"):
        settings.load({"COMMONWEAL_ZZZ": "1"})
    assert settings.load({"COMMONWEAL_TEST_SECONDS": "1", "PORT": "1", "PATH": ""}) == settings.Settings()


STRIPE = {
    "STRIPE_SECRET": "sk_test_secret",
    "STRIPE_WEBHOOK_SECRET": "whsec_secret",
    "STRIPE_CLIENT_ID": "ca_1",
    "STRIPE_PUBLIC_KEY": "pk_test_1",
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"STRIPE_SECRET": ""}, "COMMONWEAL_STRIPE_SECRET must begin with sk_live_"),
        ({"STRIPE_SECRET": "pk_test_secret"}, "COMMONWEAL_STRIPE_SECRET must begin with sk_live_"),
        ({"STRIPE_WEBHOOK_SECRET": ""}, "COMMONWEAL_STRIPE_WEBHOOK_SECRET must begin with whsec_"),
        ({"STRIPE_CLIENT_ID": "acct_secret"}, "COMMONWEAL_STRIPE_CLIENT_ID must begin with ca_"),
        ({"STRIPE_PUBLIC_KEY": "sk_test_secret"}, "COMMONWEAL_STRIPE_PUBLIC_KEY must begin with pk_live_"),
        ({"STRIPE_SECRET": "sk_live_secret"}, "both be live or both be for tests"),
        ({"STRIPE_API_URL": "ftp://secret"}, "COMMONWEAL_STRIPE_API_URL must be a URL"),
    ],
)
def test_the_keys_of_stripe_belong_together(changes: dict[str, str], told: str) -> None:
    values = {f"COMMONWEAL_{name}": value for name, value in (STRIPE | changes).items()}
    with pytest.raises(ConfigurationError, match=told) as refused:
        settings.load(values)
    assert "secret" not in str(refused.value)


def test_all_keys_of_stripe_or_none_are_right() -> None:
    assert (
        settings.load({f"COMMONWEAL_{name}": value for name, value in STRIPE.items()}).stripe_client_id
        == "ca_1"
    )
    assert settings.load({}).stripe_secret == ""
