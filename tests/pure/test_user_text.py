"""Texts that users write: cleaned, bounded, and free of control characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.errors import Invalid
from services.core.user_text import MAX_LENGTH, clean_text, require_text


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_only_outer_white_space_is_removed(text: str) -> None:
    assert clean_text(f" \t{text}\r\n", field="name") == text.strip()


def test_inner_tabs_and_line_breaks_stay_and_none_stays_none() -> None:
    assert clean_text("a\tb\r\nc\n", field="name") == "a\tb\r\nc"
    assert clean_text(None, field="name") is None


@pytest.mark.parametrize("code_point", [0, 1, 0x0B, 0x1B, 0xD800, 0xDFFF])
def test_control_characters_and_halves_of_surrogate_pairs_are_refused(code_point: int) -> None:
    with pytest.raises(Invalid) as caught:
        clean_text(f"a{chr(code_point)}b", field="items.0.description")
    assert caught.value.path == ("items", "0", "description")


def test_the_length_counts_characters_before_the_text_is_stripped() -> None:
    longest = "\u00e9" * MAX_LENGTH
    assert clean_text(longest, field="text") == longest
    for text in (longest + "x", longest + " "):
        with pytest.raises(Invalid, match=r"at most 10.?000"):
            clean_text(text, field="text")
    assert require_text("x" * 200, field="name") == "x" * 200
    with pytest.raises(Invalid, match="200"):
        require_text("x" * 201, field="name")


@pytest.mark.parametrize("text", [None, "", " ", "\n\t"])
def test_a_required_text_is_not_empty(text: str | None) -> None:
    with pytest.raises(Invalid, match="empty"):
        require_text(text, field="name")
