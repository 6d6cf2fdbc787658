"""Texts for readers: complete in every language, and no value of a person's becomes markup."""

import ast
import re
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from models.enums import Locale
from schema import texts
from schema.server import donation_page
from schema.server.page_problems import GIFT_PROBLEMS, PROBLEMS
from schema.server.sign_in_page import SCRIPT_TEXTS
from services.core import languages
from services.core.errors import ConfigurationError
from services.core.settings import Settings
from services.identity import passkeys, totp
from services.messaging import local_formats
from services.messaging.links import Links
from services.messaging.rendering import list_words, render
from services.messaging.templates import TEMPLATES, is_value, paragraphs_of

ROOT = Path(languages.__file__).parents[2]
OTHERS = [locale for locale in Locale if locale is not Locale.EN]
LINKS = Links("https://api.example.org/")
TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "body",
    "main",
    "h1",
    "p",
    "br",
    "strong",
    "a",
    "code",
    "footer",
    "blockquote",
}


@pytest.mark.parametrize("locale", OTHERS)
def test_every_text_is_translated_with_its_placeholders(locale: Locale) -> None:
    assert texts.find_untranslated(locale) == [], "python -m schema.texts --write, then translate"


@pytest.mark.parametrize("locale", OTHERS)
def test_the_catalogues_are_as_the_tool_writes_them(locale: Locale) -> None:
    stored = (languages.CATALOGUES / f"{languages.TAGS[locale]}.po").read_bytes()
    assert stored == texts.build_catalogue(locale), "python -m schema.texts --write"


@pytest.mark.parametrize("locale", OTHERS)
def test_translations_have_the_form_of_their_texts(locale: Locale) -> None:
    for text, translation in languages.read_catalogue(locale).items():
        assert translation.strip() == translation
        assert "\n" not in translation
        if text.endswith((".", ":", ",", "!", "?")):
            assert translation.endswith((".", ":", ",", "!", "?")), (text, translation)


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("DE", r"\b(du|dich|dir|dein\w*)\b"),
        ("FR", r"\b(tu|toi|ton|tes)\b"),
        ("ES", r"\b(tú|tus?|te|contigo)\b"),
    ],
)
def test_readers_are_addressed_politely(locale: str, words: str) -> None:
    named = re.compile(words, re.IGNORECASE)
    found = [text for text in languages.read_catalogue(Locale(locale)).values() if named.search(text)]
    assert found == []


def test_what_pages_complain_of_is_what_services_say() -> None:
    said = {
        node.value
        for path in (ROOT / "services").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {*PROBLEMS[1:], *GIFT_PROBLEMS} <= said  # the first is made of its bounds


def test_the_sign_in_page_says_what_its_script_says() -> None:
    script = texts.SIGN_IN.with_name("sign-in.js").read_text()
    said = set(re.findall(r'say\("([^"]+)"', script))
    assert said == set(SCRIPT_TEXTS)


def test_the_donation_page_says_what_its_script_says() -> None:
    script = texts.DONATE.with_suffix(".js").read_text()
    said = set(re.findall(r'(?:say|new Error|offerAnew)\(\s*"([^"]+)"', script))
    assert said - set(GIFT_PROBLEMS) == set(donation_page.SCRIPT_TEXTS)


def test_a_factor_of_a_mail_is_among_the_words() -> None:
    assert {passkeys.KIND, totp.APP} <= set(list_words())


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("", None),
        ("de", Locale.DE),
        ("de-CH", Locale.DE),
        ("fr-CH, fr;q=0.9, en;q=0.8", Locale.FR),
        ("it, es;q=0.5, de;q=0.6", Locale.DE),
        ("de;q=0, en;q=0.1", Locale.EN),
        ("it, pt-BR, *", None),
        ("de;q=2, es", Locale.ES),
        ("de" + "," * 100_000 + "fr", Locale.DE),
        ("\x00;;;q=;de", None),
    ],
)
def test_a_browser_gets_the_language_that_it_likes_best(header: str, locale: Locale | None) -> None:
    assert languages.choose(header) is locale


def test_the_same_clock_twice_in_an_autumn_night_is_told_apart() -> None:
    first, second = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    told = local_formats.format_period(first, second, "Europe/Berlin", Locale.EN)
    assert told == "Sunday, 25 October 2026, 02:30 GMT+02:00 to 02:30 GMT+01:00 (Europe/Berlin)"
    french = local_formats.format_period(first, second, "Europe/Berlin", Locale.FR)
    assert french == "dimanche 25 octobre 2026, de 02:30 UTC+02:00 à 02:30 UTC+01:00 (Europe/Berlin)"


def test_a_period_names_its_zone_and_offset_once_and_its_second_day() -> None:
    starts, ends = datetime(2026, 7, 1, 16, 0, tzinfo=UTC), datetime(2026, 7, 1, 18, 30, tzinfo=UTC)
    told = local_formats.format_period(starts, ends, "America/New_York", Locale.EN)
    assert told == "Wednesday, 1 July 2026, 12:00 to 14:30 (America/New_York, GMT-04:00)"
    night = local_formats.format_period(
        starts, datetime(2026, 7, 2, 1, 0, tzinfo=UTC), "Europe/Berlin", Locale.DE
    )
    assert (
        night
        == "Mittwoch, 1. Juli 2026, 18:00 bis Donnerstag, 2. Juli 2026, 03:00 (Europe/Berlin, GMT+02:00)"
    )
    assert (
        local_formats.format_moment(starts, "UTC", Locale.ES) == "miércoles, 1 de julio de 2026, 16:00 (UTC)"
    )
    assert local_formats.format_day(date(2026, 7, 1), Locale.FR) == "mercredi 1 juillet 2026"


@pytest.mark.parametrize(
    ("text", "german"),
    [
        ("1250.00 USD", "1.250,00 USD"),
        ("3 JPY", "3 JPY"),
        ("-0.005 KWD", "-0,005 KWD"),
        ("the amount", "the amount"),
    ],
)
def test_amounts_have_the_separators_of_the_language(text: str, german: str) -> None:
    assert local_formats.format_amount(text, Locale.DE) == german


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        assert all(not name.startswith("on") for name, _ in attrs)


def _payload(template: str, value: str) -> dict[str, Any]:
    subject, text = TEMPLATES[template]
    names = set(re.findall(r"\{(\w+)\}", subject + text))
    made_of = {"link": "token", "decision": "approved", "export_link": "id"}
    payload: dict[str, Any] = {made_of.get(name, name): value for name in names - {"public_url"}}
    if "when" in payload:
        payload["when"] = {
            "at": "2026-10-25T00:30:00+00:00",
            "until": "2026-10-25T01:30:00+00:00",
            "zone": "UTC",
        }
    return payload


@pytest.mark.parametrize("locale", list(Locale))
@pytest.mark.parametrize("template", list(TEMPLATES))
def test_values_are_escaped_in_html_and_texts_are_the_same(template: str, locale: Locale) -> None:
    evil = '<img src=x onerror=alert(1)> & "quoted" {name} <a href="https://evil.example">x</a>'
    mail = render(
        template, _payload(template, evil), links=LINKS, locale=locale, stop_url="https://x.example/?a&b"
    )
    parser = _Tags()
    parser.feed(mail.html)
    assert set(parser.tags) <= TAGS
    assert not any(link.startswith("https://evil") for link in parser.links)
    assert f'<html lang="{languages.TAGS[locale]}">' in mail.html
    assert parser.tags.count("h1") == parser.tags.count("main") == 1
    prose = [
        line for lines in paragraphs_of(template) for line in lines if not is_value(line) and "{" not in line
    ]
    for line in prose:
        assert languages.translate(line, locale) in mail.text


def test_links_lead_where_the_settings_say() -> None:
    settings = Settings(
        public_url="https://api.example.org",
        site_url="https://www.example.org/",
        link_verify="https://app.example.org/#/verify?t={token}&x=1",
    )
    links = Links.of(settings)
    mail = render("verify_email", {"token": "a b&c"}, links=links)
    assert "https://app.example.org/#/verify?t=a%20b%26c&x=1" in mail.text
    assert 'href="https://app.example.org/#/verify?t=a%20b%26c&amp;x=1"' in mail.html
    assert mail.text.endswith("-- \nCommonweal\nhttps://www.example.org\n")
    reset = render("password_reset", {"token": "t"}, links=links)
    assert "https://api.example.org/reset?token=t" in reset.text
    export = render("data_export", {"id": "7"}, links=links)
    assert "https://api.example.org/export/my-data/7" in export.text


@pytest.mark.parametrize(
    "link",
    [
        "https://app.example.org/verify",
        "http://app.example.org/verify?token={token}",
        "javascript:alert('{token}')",
        "https://{token}.example.org/",
        "https:///verify?token={token}",
        "https://app.example.org/{token}/{token}",
        "https://app.example.org/{name}/{token}",
        "{token}",
        "https://[::1/{token}",
    ],
)
def test_a_link_that_cannot_work_is_refused_at_the_start(link: str) -> None:
    with pytest.raises(ConfigurationError, match="COMMONWEAL_LINK_RESET must be https://"):
        Settings(link_reset=link)


@pytest.mark.parametrize(
    "link", ["https://a.example/{token}", "http://localhost:3000/v?t={token}", "http://[::1]/#{token}"]
)
def test_a_link_to_a_site_or_to_this_machine_is_accepted(link: str) -> None:
    assert Links.of(Settings(link_stop=link)).to("stop", "x y") == link.replace("{token}", "x%20y")
