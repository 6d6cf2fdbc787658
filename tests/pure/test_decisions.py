"""Decisions on money and time are functions of facts: they ask neither the database nor the clock."""

import re
from pathlib import Path

import pytest

SERVICES = Path(__file__).parents[2] / "services"
DECISIONS = sorted(SERVICES.rglob("*_decision.py"))
NOT_PURE = re.compile(r"\bAsyncSession\b|\basync def\b|\bawait\b|\bnow\(|\btime\(")


def test_there_are_decisions() -> None:
    assert len(DECISIONS) >= 12


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_asks_neither_the_database_nor_the_clock(path: Path) -> None:
    assert NOT_PURE.findall(path.read_text()) == []
