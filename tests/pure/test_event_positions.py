"""Positions in the log of live events as clients hold them."""

import struct
from base64 import b32encode

import pytest

from services.core.errors import Invalid
from services.live import event_log
from services.live.event_log import NOTHING_SEEN, Position, ResumePoint, SnapshotView


def test_a_position_survives_encoding_and_drops_what_is_past() -> None:
    for position in (Position(0, 0), Position(7, 3), Position(2**63 - 1, 2**63 - 1)):
        assert event_log.decode_position(event_log.encode_position(ResumePoint(position))) == ResumePoint(
            position
        )
    start = ResumePoint(Position(7, 0), SnapshotView(12, frozenset({7, 9})), epoch=2**32 - 1)
    assert event_log.decode_position(event_log.encode_position(start)) == start
    later = start._replace(position=Position(8, 1))
    assert event_log.decode_position(event_log.encode_position(later)) == ResumePoint(
        Position(8, 1), SnapshotView(12, frozenset({9})), 2**32 - 1
    ), "what is past is left out"
    assert (
        event_log.decode_position(
            event_log.encode_position(start._replace(position=Position(12, 1)))
        ).snapshot
        == NOTHING_SEEN
    )
    crowded = ResumePoint(Position(1, 0), SnapshotView(10**6, frozenset(range(1, event_log.MAX_XIDS + 1))))
    assert event_log.decode_position(event_log.encode_position(crowded)) == ResumePoint(Position(1, 0))


def test_texts_that_are_not_positions_are_refused() -> None:
    start = ResumePoint(Position(7, 0), SnapshotView(12, frozenset({7, 9})))
    too_long = "pos_" + b32encode(struct.pack(">1004Q", *range(1004))).decode().rstrip("=").lower()
    for bad in (
        "",
        "pos_",
        "pos_a",
        "col_" + "a" * 26,
        "pos_" + "7" * 32,
        "pos_\udcff",
        "x" * 1000,
        event_log.encode_position(start)[:-1],
        event_log.encode_position(start) + "aaaa",
        too_long,
    ):
        with pytest.raises(Invalid):
            event_log.decode_position(bad)
