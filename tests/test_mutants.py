"""The page of mutants names all of them, and each still matches the code."""

from pathlib import Path

import pytest

from tests.mutants.__main__ import all_mutants, to_table
from tests.mutants.mutant import Mutant
from tests.mutants.sql_mutants import find

ROOT = Path(__file__).parents[1]


def test_the_page_names_every_mutant() -> None:
    assert (ROOT / "docs/mutants.md").read_text() == to_table(all_mutants())


@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda mutant: mutant.name)
def test_a_mutant_matches_the_code(mutant: Mutant) -> None:
    assert find((ROOT / mutant.path).read_text(), mutant) is not None
    assert all((ROOT / name).exists() for name in mutant.tests)
