"""Public ids: a prefix for the type, and the UUID in base 32."""

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core import public_ids
from services.core.errors import Invalid

ZERO = "col_" + "a" * 26


@given(st.sampled_from(sorted(public_ids.PREFIXES)), st.uuids())
def test_an_id_decodes_to_its_type_and_row(object_type: str, row_id: UUID) -> None:
    public_id = public_ids.encode(object_type, row_id)
    prefix, _, digits = public_id.partition("_")
    assert prefix == public_ids.PREFIXES[object_type]
    assert digits == base64.b32encode(row_id.bytes).decode().rstrip("=").lower()
    assert public_ids.object_type_of(public_id) == object_type
    assert public_ids.decode(object_type, public_id, field="id") == row_id


def test_every_type_has_a_prefix_of_its_own() -> None:
    assert len(set(public_ids.PREFIXES.values())) == len(public_ids.PREFIXES)
    assert all(len(prefix) == 3 and prefix.isalpha() for prefix in public_ids.PREFIXES.values())


def test_an_id_of_another_type_is_refused_by_both_names() -> None:
    with pytest.raises(Invalid, match="is the id of a Collective, not of a Order") as caught:
        public_ids.decode("Order", ZERO, field="order")
    assert caught.value.path == ("order",)


@pytest.mark.parametrize(
    "text", ["", "col", "col_", "col_a", "xyz_" + "a" * 26, ZERO + "a", "col_" + "1" * 26, "x" * 1000]
)
def test_a_text_that_is_not_an_id_is_refused_and_abbreviated(text: str) -> None:
    with pytest.raises(Invalid, match="is not an id") as caught:
        public_ids.decode("Collective", text, field="id")
    assert len(caught.value.message) < 80
