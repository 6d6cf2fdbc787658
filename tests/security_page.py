"""`python -m tests.security_page`: write into docs/security.md how many tests attack what."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"
MARK = "## What was tried\n"
SUBJECTS: dict[str, tuple[str, ...]] = {
    "Headers, bodies and connections": (
        "tests/schema/server/test_limited_protocol.py",
        "tests/schema/execution/test_timeouts.py",
        "tests/schema/http/test_endpoint_requests.py",
    ),
    "Proxies, hosts and origins": (
        "tests/schema/http/test_gate.py",
        "tests/schema/server/test_proxies.py",
        "tests/schema/http/test_cors.py",
        "tests/schema/http/test_cookie_session.py",
    ),
    "Documents, cost and lists": (
        "tests/schema/documents/test_attacks.py",
        "tests/schema/documents/test_document_limits.py",
        "tests/schema/execution/test_cost.py",
        "tests/schema/execution/test_input_lists.py",
        "tests/schema/execution/test_rate_limit.py",
    ),
    "Subscriptions and websockets": (
        "tests/schema/realtime/test_ws_flood.py",
        "tests/schema/realtime/test_ws_protocol.py",
    ),
    "Accounts, passwords and sessions": (
        "tests/resolvers/test_identity.py",
        "tests/resolvers/test_accounts.py",
        "tests/resolvers/test_sign_up.py",
        "tests/resolvers/test_password_reset.py",
    ),
    "Who may see and do what": (
        "tests/resolvers/test_visibility.py",
        "tests/resolvers/test_permission_matrix.py",
        "tests/resolvers/test_self_approval.py",
    ),
    "Mail as a weapon": (
        "tests/services/messaging/test_budgets.py",
        "tests/services/messaging/test_mail_producers.py",
        "tests/schema/server/test_stop_mail.py",
    ),
    "Addresses and consent": ("tests/resolvers/test_consent.py",),
    "Personal data": ("tests/resolvers/test_personal.py", "tests/schema/server/test_personal_data.py"),
    "Input of every kind": ("tests/resolvers/test_bad_input.py", "tests/resolvers/test_bad_text.py"),
    "Words of a payment provider": (
        "tests/schema/server/test_webhooks.py",
        "tests/resolvers/test_stripe_events.py",
        "tests/resolvers/test_stripe_accounts.py",
    ),
    "A forged ledger": (
        "tests/models/test_ledger_forgery.py",
        "tests/models/test_ledger_guards.py",
        "tests/models/test_order_guards.py",
        "tests/models/test_database_rights.py",
    ),
}


def count_tests(path: Path) -> int:
    """Count the test functions of a file; one with many examples counts once."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text())
    return sum(isinstance(node, functions) and node.name.startswith("test_") for node in ast.walk(tree))


def render() -> str:
    """Return the page with the counts of today."""
    rows = [
        f"| {subject} | {sum(count_tests(ROOT / path) for path in paths)} | `{'`, `'.join(paths)}` |"
        for subject, paths in SUBJECTS.items()
    ]
    head = PAGE.read_text().partition(MARK)[0]
    text = (
        "Each test attacks as described in its name, and many with dozens of examples. `python -m"
        " tests.security_page` counts them again.\n\n| What | Tests | Where |\n|---|---|---|\n"
    )
    return f"{head}{MARK}\n{text}" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render())
