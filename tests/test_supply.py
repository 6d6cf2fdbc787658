"""What the check of the lock files says, above all where it could check nothing."""

import json
from typing import Any

from tests import security_page
from tests.supply import find_npm_locks, judge_npm, judge_pip

GOOD = {"name": "starlette", "version": "1.0", "vulns": []}
BAD = {"name": "jinja2", "version": "2.0", "vulns": [{"id": "CVE-2026-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {
    "name": "httpx",
    "skip_reason": "Dependency not found on PyPI and could not be audited: httpx (1.0)",
}


def pip(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_lock_without_known_vulnerabilities_is_good() -> None:
    finding = judge_pip("lock", pip(GOOD))
    assert not finding.is_bad
    assert str(finding) == "lock: no known vulnerability"


def test_a_known_vulnerability_is_named_with_what_mends_it() -> None:
    finding = judge_pip("lock", pip(GOOD, BAD))
    assert finding.is_bad
    assert str(finding) == "lock: vulnerable: jinja2 2.0: CVE-2026-1, mended in 2.1"


def test_a_check_that_reached_no_data_is_no_success() -> None:
    for answer in (pip(UNKNOWN, UNKNOWN), "", "<html>", "[]"):
        finding = judge_pip("lock", answer)
        assert finding.skipped
        assert "NOTHING WAS CHECKED" in str(finding)
    assert judge_npm("lock", '{"message": "request to https://… failed"}').skipped


def test_one_package_that_the_data_do_not_know_is_not_passed_over() -> None:
    finding = judge_pip("lock", pip(GOOD, UNKNOWN))
    assert finding.is_bad
    assert "httpx" in str(finding)


def test_npm_fails_for_what_is_serious() -> None:
    report = {"vulnerabilities": {"a": {"severity": "low"}, "b": {"severity": "critical"}}}
    assert judge_npm("lock", json.dumps(report)).vulnerabilities == ("b: critical",)
    assert not judge_npm("lock", json.dumps({"vulnerabilities": {}})).is_bad


def test_every_npm_lock_of_the_repository_is_checked() -> None:
    assert {path.parent.name for path in find_npm_locks()} >= {"graphiql", "clients", "schema_tools"}


def test_the_security_page_counts_the_tests_of_today() -> None:
    assert security_page.PAGE.read_text() == security_page.render(), "run `python -m tests.security_page`"
