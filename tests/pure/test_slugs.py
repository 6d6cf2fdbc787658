"""Slugs: their form, the reserved ones, and suggestions from names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core import slugs
from services.core.errors import Invalid


@pytest.mark.parametrize("slug", ["ab", "webpack", "open-source-2", "1-2-3", "a" * 64])
def test_letters_digits_and_inner_hyphens_are_accepted(slug: str) -> None:
    assert slugs.check(slug, field="slug") == slug


@pytest.mark.parametrize(
    "slug", ["", "a", "a" * 65, "-ab", "ab-", "a--b", "Ab", "a_b", "a b", "\u00e9t\u00e9", "ab\n"]
)
def test_other_forms_are_refused(slug: str) -> None:
    with pytest.raises(Invalid) as caught:
        slugs.check(slug, field="slug")
    assert caught.value.path == ("slug",)


@pytest.mark.parametrize("slug", sorted(slugs.RESERVED))
def test_reserved_slugs_are_refused_by_name(slug: str) -> None:
    with pytest.raises(Invalid, match="reserved"):
        slugs.check(slug, field="slug")


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Ada Lovelace", "ada-lovelace-0a1b2c"),
        ("  \u00c9milie du Ch\u00e2telet! ", "emilie-du-chatelet-0a1b2c"),
        ("\u6771\u4eac", "dongjing-0a1b2c"),
        ("!?", "someone-0a1b2c"),
        ("", "someone-0a1b2c"),
        ("a" * 100, "a" * 57 + "-0a1b2c"),
    ],
)
def test_a_suggestion_is_a_transliterated_name_with_a_suffix(name: str, slug: str) -> None:
    assert slugs.suggest(name, suffix="0a1b2c") == slug


@given(st.text(max_size=200), st.text("0123456789abcdef", min_size=6, max_size=12))
def test_every_suggestion_is_a_valid_slug_and_recognised(name: str, suffix: str) -> None:
    slug = slugs.suggest(name, suffix=suffix)
    assert slugs.check(slug, field="slug") == slug
    assert slugs.is_suggested(slug, name=name)


def test_a_chosen_slug_is_not_a_suggestion() -> None:
    assert not slugs.is_suggested("ada-lovelace", name="Ada Lovelace")
    assert not slugs.is_suggested("ada-0a1b2c", name="Ada Lovelace")
    assert not slugs.is_suggested("ada-lovelace-zzzzzz", name="Ada Lovelace")


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Mia Example", "mia-example"),
        ("Zo\u00eb M\u00fcller", "zoe-muller"),
        ("Zoe\u0308 Mu\u0308ller", "zoe-muller"),
        ("\u0110\u1eb7ng Stra\u00dfe", "dang-strasse"),
        ("\u0418\u0432\u0430\u043d \u041f\u0435\u0442\u0440\u043e\u0432", "ivan-petrov"),
        ("\u0395\u03bb\u03ad\u03bd\u03b7", "eleni"),
        ("\uae40\ucca0\uc218", "gimcheolsu"),
        ("\uff21\uff24\uff21", "ada"),
        ("Let's go", "lets-go"),
        ("L\u2019\u00e9t\u00e9", "lete"),
        ("events", "events"),
        ("x" * 70, "x" * 64),
        ("!?", ""),
    ],
)
def test_a_plain_slug_is_derived_from_a_name_in_any_script(name: str, slug: str) -> None:
    assert slugs.derive(name) == slug
    assert slugs.is_usable(slug) == (slug not in {"events", ""})


@given(st.text(max_size=200))
def test_a_derived_slug_is_usable_or_reserved_or_short(name: str) -> None:
    slug = slugs.derive(name)
    assert slugs.is_usable(slug) or slug in slugs.RESERVED or len(slug) < slugs.MIN_LENGTH
