"""Every guard of the database has a message for users, or a reason why no user meets it."""

import re
from pathlib import Path

import pytest

from models.migrations import sql_files
from services.core.errors import Problem
from services.database.constraint_errors import PROBLEM_BY_CONSTRAINT

_RAISED = re.compile(r"CONSTRAINT = '(\w+)'")
_BUG = "the server's own arithmetic of a transaction; another is a bug, and reported as one"
UNREACHABLE = {
    "act_by_trigger": "the application's role has no right to write the audit log",
    "append_only": "no statement of the server changes history, and its role has no right to",
    "approval_kept": "the application's role has no right to change or delete approvals",
    "ck_ledger_account_kind_known": _BUG,
    "ck_transaction_": _BUG,
    "fx_rate_source": "the source of a rate that a person sets is the person",
    "hold_of_open_order": "a hold is released by what changes the status of its order, in one transaction",
    "hours_within_time": "the amount of hours is computed from their times",
    "ledger_leg_order": _BUG,
    "order_imported_settled": "the importer alone writes import keys, for settled orders of money",
    "subscription_begins": "the server stores a recurring gift with its first period",
    "subscription_order": "the server builds the order of a period from the gift",
    "subscription_repeats": "the server refuses such an end before it stores the gift",
    "subscription_terms": "no statement of the server changes them, and its role has no right to",
    "token_revoked_for_good": "no statement of the server takes an end of a session back",
    "platform_fixed": "no mutation changes which collective is the platform",
    "posting_balanced": _BUG,
    "posting_continues_account": _BUG,
    "posting_currency": _BUG,
    "posting_of_new_transaction": _BUG,
    "provider_account_named_once": "another account of the provider gets a row of its own",
    "provider_event_once": "a job locks an event and does it once",
    "provider_payment_card_of_giver": "a job keeps a card for the giver of its order",
    "provider_payment_ends_once": "a job locks a payment and does what its state allows",
    "provider_payment_of_order": "a payment is begun with the method of its order",
    "provider_refund_ends_once": "a job locks a refund that is open",
    "provider_refund_of_collected": "the server refunds what the provider says it has collected",
    "refund_of_original": "a refund takes the order and the currency of its original",
    "tip_of_gift": "the server builds the transaction of a tip from its gift",
    "transaction_figures": _BUG,
    "transaction_has_postings": "refused before, as AMOUNT_TOO_SMALL",
    "transaction_legs": _BUG,
    "transaction_order": _BUG,
}
"""Guards against faults of the server itself, with the reason why no request of a user meets them."""


def _sql() -> str:
    return "".join(path.read_text() for path in sorted(Path(sql_files.SQL_FOLDER).rglob("*.sql")))


def test_each_guard_is_a_problem_for_users_or_unreachable() -> None:
    raised = set(_RAISED.findall(_sql()))
    assert len(raised) > 50
    assert raised == (set(PROBLEM_BY_CONSTRAINT) & raised) | set(UNREACHABLE)
    assert not set(PROBLEM_BY_CONSTRAINT) & set(UNREACHABLE)


def test_each_problem_names_a_constraint_of_the_database() -> None:
    sql = _sql()
    assert [name for name in PROBLEM_BY_CONSTRAINT if not re.search(rf"\b{name}\b", sql)] == []


@pytest.mark.parametrize("name", PROBLEM_BY_CONSTRAINT)
def test_each_problem_is_a_sentence_without_the_words_of_the_database(name: str) -> None:
    problem_type, message, _ = PROBLEM_BY_CONSTRAINT[name]
    assert issubclass(problem_type, Problem)
    assert message[0].isupper()
    assert message.endswith(".")
    assert not re.search(r"constraint|trigger|violat|row", message)
