"""`python -m tests.supply`: check the locked packages against known vulnerabilities.

Asks pip-audit about requirements.lock and npm about each package-lock.json. Where their data cannot be
reached, that is said loudly and nothing is claimed: a check that did not happen is no success, and no failure
either.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SECONDS = 300
UNREACHABLE = ("not found on PyPI", "could not be audited")
SERIOUS = ("high", "critical")


@dataclass(frozen=True)
class Finding:
    """What the check of one lock file says."""

    lock: str
    vulnerabilities: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    """Packages that the data do not know, though they know others."""
    skipped: str = ""
    """Why nothing could be checked."""

    @property
    def is_bad(self) -> bool:
        """True for a known vulnerability, and for a package that nobody vouches for."""
        return bool(self.vulnerabilities or self.unchecked)

    def __str__(self) -> str:
        """Say it in a line or more."""
        if self.skipped:
            return f"!! SKIPPED, NOTHING WAS CHECKED: {self.lock}: {self.skipped}"
        lines = [f"{self.lock}: vulnerable: {one}" for one in self.vulnerabilities]
        lines += [f"{self.lock}: unknown to the data: {one}" for one in self.unchecked]
        return "\n".join(lines) or f"{self.lock}: no known vulnerability"


def judge_pip(lock: str, answer: str) -> Finding:
    """Judge the JSON of pip-audit, which succeeds even if it could look up nothing."""
    try:
        packages: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return Finding(lock, skipped="pip-audit gave no answer")
    unchecked = tuple(p["name"] for p in packages if "skip_reason" in p)
    if len(unchecked) == len(packages):
        return Finding(lock, skipped="the vulnerability data cannot be reached")
    found = tuple(
        f"{p['name']} {p['version']}: {v['id']}, mended in {', '.join(v['fix_versions']) or 'no version yet'}"
        for p in packages
        for v in p.get("vulns", ())
    )
    return Finding(lock, found, unchecked)


def judge_npm(lock: str, answer: str) -> Finding:
    """Judge the JSON of `npm audit`."""
    try:
        report = json.loads(answer)
        vulnerabilities: dict[str, Any] = report["vulnerabilities"]
    except (ValueError, KeyError, TypeError):
        return Finding(lock, skipped="the vulnerability data cannot be reached")
    return Finding(
        lock,
        tuple(f"{name}: {v['severity']}" for name, v in vulnerabilities.items() if v["severity"] in SERIOUS),
    )


def check_pip(lock: Path) -> Finding:
    """Check a lock file of Python packages; nothing is installed or resolved."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip"]
    return judge_pip(lock.name, _run([*command, "--require-hashes", "--format", "json"], cwd=ROOT))


def check_npm(lock: Path) -> Finding:
    """Check a lock file of npm packages."""
    name = str(lock.relative_to(ROOT))
    if (npm := shutil.which("npm")) is None:
        return Finding(name, skipped="npm is not installed")
    return judge_npm(name, _run([npm, "audit", "--package-lock-only", "--json"], cwd=lock.parent))


def _run(command: list[str], *, cwd: Path) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def find_npm_locks() -> list[Path]:
    """Return the lock files of npm packages, without those of installed packages."""
    return sorted(p for p in ROOT.rglob("package-lock.json") if "node_modules" not in p.parts)


def main() -> int:
    """Check every lock file; return 1 if one of them is bad."""
    findings = [check_pip(ROOT / "requirements.lock"), *map(check_npm, find_npm_locks())]
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    return int(any(finding.is_bad for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
