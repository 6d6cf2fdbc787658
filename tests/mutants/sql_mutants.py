"""Mutants of the database's guards."""

import re
from pathlib import Path

from tests.mutants.mutant import FUNCTIONS, Mutant

_MODELS = "tests/models"
POSTING = (f"{_MODELS}/test_posting_guards.py",)
FIGURES = (f"{_MODELS}/test_transaction_guards.py",)
ORDERS = (f"{_MODELS}/test_order_guards.py",)
TIME = (f"{_MODELS}/test_volunteering_limits.py",)
RIGHTS = (f"{_MODELS}/test_database_rights.py",)
SETTLED = (f"{_MODELS}/test_settled_orders.py",)
CLEARING = (f"{_MODELS}/test_clearing_guards.py",)

_GROUPS = {
    "postings": POSTING,
    "figures": FIGURES,
    "orders": ORDERS,
    "volunteering": TIME,
    "rights": RIGHTS,
    "settled": SETTLED,
    "clearing": CLEARING,
    "tiers": (f"{_MODELS}/test_tier_guards.py",),
    "gifts": (f"{_MODELS}/test_subscription_guards.py",),
    "gift-cards": (
        "tests/resolvers/test_recurring_cards.py",
        "tests/resolvers/test_first_card_payments.py",
        "tests/resolvers/test_stopped_card_charges.py",
    ),
    "tips-approved": ("tests/resolvers/test_two_people_tips.py",),
    "gift-races": (f"{_MODELS}/test_subscription_races.py",),
    "tips": (f"{_MODELS}/test_tip_guards.py",),
    "incognito": (f"{_MODELS}/test_incognito_guards.py",),
    "incognito-log": ("tests/resolvers/test_incognito_gifts.py",),
    "legs": (f"{_MODELS}/test_legs_of_figures.py",),
    "side": (f"{_MODELS}/test_paying_side.py",),
    "terms": (f"{_MODELS}/test_order_terms.py",),
    "amounts": ("tests/pure/test_transaction_amounts.py", "tests/pure/test_ledger_properties.py"),
    "decisions": ("tests/pure/test_approval_decision.py",),
    "transitions": ("tests/services/orders/test_transitions.py",),
    "flow": ("tests/resolvers/test_orders_flow.py",),
    "money": ("tests/resolvers/test_orders_money.py",),
    "attempts": ("tests/resolvers/test_crashes.py", "tests/resolvers/test_concurrency.py"),
}
_SIGNS = {
    "amount": (r"\(NEW\.amount <= 0 OR ", "("),
    "processor-fee": (r"NEW\.payment_processor_fee < 0 OR ", ""),
    "platform-fee": (r"NEW\.platform_fee < 0 OR ", ""),
    "host-fee": (r" OR NEW\.host_fee < 0", ""),
    "rest": (r"\n\s+OR NEW\.to_collective_amount < 0\)", ")"),
    "refund-amount": (r"\(NEW\.amount >= 0 OR ", "("),
    "refund-processor-fee": (r"NEW\.payment_processor_fee > 0 OR ", ""),
    "refund-platform-fee": (r"NEW\.platform_fee > 0 OR ", ""),
    "refund-host-fee": (r" OR NEW\.host_fee > 0", ""),
    "refund-rest": (r"\n\s+OR NEW\.to_collective_amount > 0\)", ")"),
}
_UNCLAIMED = ("DONATION", "EXPENSE", "TRANSFER", "REDEMPTION", "CASH_OUT")
_ALWAYS = {
    "ledger_guards": ("posting_guard", "transaction_guard", "ledger_account_guard"),
    "order_guards": ("order_end_guard", "order_sides_guard", "order_status_guard", "approval_guard"),
    "settled_orders": (
        "paid_order_guard",
        "settled_amount_guard",
        "settled_redemption_guard",
    ),
    "volunteering": ("redemption_guard", "event_capacity_guard"),
    "application_limits": ("hold_release_guard", "collective_money_guard", "platform_fixed_guard"),
}
_PATHS = {
    "ledger_guards": ("posting_guard", "transaction_guard", "count_refund", "issuance_guard"),
    "order_guards": ("order_sides_guard", "approval_guard"),
    "ledger_posting": ("ledger_post", "ledger_hold", "ledger_release", "ledger_lock", "open_account"),
    "volunteering": ("redemption_guard", "event_capacity_guard"),
}
_KEPT = ("issuance_cap", "tier", "offer", "receipt", "redemption", "attendance", "transaction", "posting")


def read_edits(file: str) -> dict[str, tuple[str, str, str, tuple[str, ...]]]:
    """Read a list of edits: by name, the file, what is replaced, by what, and the tests."""
    text = (Path(__file__).parent / file).read_text()
    rows = {}
    for block in re.split(r"\n\n+", "\n".join(line for line in text.split("\n") if line[:1] != "#")):
        if not block.strip():
            continue
        head, pattern, replacement = block.strip("\n").split("\n")
        name, path, group = head.split()
        rows[name] = (path, pattern[2:], replacement[2:], _GROUPS[group])
    return rows


def sql_mutants() -> list[Mutant]:
    """Return the mutants of functions, triggers and rights."""
    rows = read_edits("sql_guards.txt")
    rows |= {f"sign-{name}": ("ledger_guards", *edit, FIGURES) for name, edit in _SIGNS.items()}
    for kind in _UNCLAIMED:
        pattern = rf"(NEW\.import_key IS NULL\n\s+AND NEW\.type IN \([^)]*?)'{kind}'"
        rows[f"unclaimed-{kind.lower()}"] = ("order_guards", pattern, r"\1'NONE'", ORDERS)
    for file, triggers in _ALWAYS.items():
        for trigger in triggers:
            pattern = rf"ALTER TABLE \S+ ENABLE ALWAYS TRIGGER {trigger};"
            rows[f"not-always-{trigger}"] = (file, pattern, "", RIGHTS)
    for file, functions in _PATHS.items():
        for function in functions:
            pattern = rf"(FUNCTION {function}\(.*?)SET search_path = pg_catalog, public, pg_temp"
            rows[f"path-{function}"] = (file, pattern, r"\1", RIGHTS)
    for table in _KEPT:
        rows[f"kept-{table}"] = ("append_only", f"'{table}'", "'muted_topic'", RIGHTS)
    for function in ("count_refund", "issuance_guard"):
        pattern = r"REVOKE ALL ON FUNCTION ledger_account_guard\(\).*?;"
        grant = f"GRANT EXECUTE ON FUNCTION {function} TO PUBLIC;"
        rows[f"public-{function}"] = ("ledger_guards", pattern, grant, RIGHTS)
    return [
        Mutant(name=name, path=f"{FUNCTIONS}/{row[0]}.sql", pattern=row[1], replacement=row[2], tests=row[3])
        for name, row in rows.items()
    ]


def find(text: str, mutant: Mutant) -> re.Match[str] | None:
    """Return what the mutant replaces in a file's text."""
    flags = re.MULTILINE | (re.DOTALL if ".*?" in mutant.pattern else 0)
    return re.search(mutant.pattern, text, flags)
