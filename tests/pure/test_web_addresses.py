"""Addresses of web pages: http and https alone, in one spelling."""

import pytest

from services.core.errors import Invalid
from services.core.web_addresses import clean_url


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("https://Example.ORG/Path?q=1#x", "https://example.org/Path?q=1#x"),
        ("HTTP://example.org", "http://example.org"),
        (" https://bücher.example ", "https://bücher.example"),
        ("https://example.org:8443/a", "https://example.org:8443/a"),
        ("http://[2001:DB8::1]/", "http://[2001:db8::1]/"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("", None),
        (None, None),
    ],
)
def test_a_web_address_has_one_spelling(text: str | None, cleaned: str | None) -> None:
    assert clean_url(text, field="website") == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "javascript:alert(1)",
        "JAVASCRIPT://example.org/%0aalert(1)",
        "data:text/html,x",
        "ftp://example.org",
        "//example.org",
        "example.org",
        "https://",
        "https:///path",
        "http://x y",
        "https://example.org/a b",
        "https://user@example.org",
        "https://user:pw@example.org",
        "https://example.org:port",
        "https://example.org:99999",
        "https://exa<mple.org",
        'https://example.org/"onload',
        "https://-x.org",
        "https://a..org",
        "https://\\evil.org",
        "https://example.org/" + "x" * 2_000,
    ],
)
def test_what_is_no_web_address_is_refused_under_its_field(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        clean_url(text, field="website")
    assert caught.value.path == ("website",)
