"""Applies mutants in a copy of the tree and runs the tests that must notice them."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from psycopg import sql

from models.migrations import sql_files
from services.database import embedded_postgres, migrations
from tests.mutants.mutant import Mutant
from tests.mutants.sql_mutants import find

ROOT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache"
)
_LOADED = ("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning")
_OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-k", "not replica and not shadowed")
"""The two other modes repeat each attempt against a guard, and take most of the time."""


@contextmanager
def tree_copy() -> Iterator[Path]:
    """Yield a temporary copy of the tree: mutants are never applied in place."""
    with tempfile.TemporaryDirectory(prefix="mutants", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=_LEFT_OUT)
        yield copy


@contextmanager
def database_server() -> Iterator[str]:
    """Start one PostgreSQL for all runs and yield its URL."""
    with (
        tempfile.TemporaryDirectory(prefix="cwm", ignore_cleanup_errors=True) as folder,
        embedded_postgres.run_embedded_postgres(Path(folder)) as socket_dir,
    ):
        url = f"postgresql://postgres@/postgres?host={socket_dir}"
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
        os.environ["COMMONWEAL_TEST_SERVER_URLS"] = url
        yield url


def _outcome(status: int, output: str) -> str:
    """Return green, red or, if not a test but the set-up of the database or a module failed, broken."""
    if status == pytest.ExitCode.OK:
        return "green"
    return "red" if status == pytest.ExitCode.TESTS_FAILED and "\nFAILED " in output else "broken"


def run_with_python_of(copy: Path, names: Sequence[str], *, seconds: float) -> str:
    """Run tests in a new process with the Python files of the copy."""
    command = [sys.executable, "-m", "pytest", *_OPTIONS, *names]
    try:
        process = subprocess.run(
            command, cwd=copy, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return "late"
    return _outcome(process.returncode, process.stdout)


def _run_child(copy: Path, names: Sequence[str], log: Path) -> NoReturn:
    """Run tests in a forked process, and end it without the parent's clean-up."""
    status = int(pytest.ExitCode.INTERNAL_ERROR)
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        for module in (sql_files, migrations):
            vars(module)["SQL_FOLDER"] = copy / "models/migrations/sql"
        status = int(pytest.main([*_OPTIONS, *_LOADED, *(str(ROOT / name) for name in names)]))
    except Exception:  # noqa: BLE001 - whatever it is, it ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run_with_sql_of(copy: Path, names: Sequence[str], *, seconds: float) -> str:
    """Run tests in a fork with the SQL files of the copy: loading Python takes longer than the tests."""
    log = copy.parent / "log"
    child = os.fork()
    if child == 0:
        _run_child(copy, names, log)
    deadline = time.monotonic() + seconds
    while not (waited := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "late"
        time.sleep(0.05)
    return _outcome(os.waitstatus_to_exitcode(waited[1]), log.read_text())


def drop_databases(url: str) -> None:
    """Drop the databases that a run has left on the server."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname ~ '^(template|test)_'")
        for (name,) in rows.fetchall():
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def try_mutant(copy: Path, mutant: Mutant, *, seconds: float) -> str:
    """Apply a mutant, run its tests and undo it; return the outcome, or `stale` if the pattern is gone."""
    path = copy / mutant.path
    text = path.read_text()
    match = find(text, mutant)
    if match is None:
        return "stale"
    try:
        path.write_text(text[: match.start()] + match.expand(mutant.replacement) + text[match.end() :])
        run_tests = run_with_sql_of if mutant.is_sql else run_with_python_of
        return run_tests(copy, mutant.tests, seconds=seconds)
    finally:
        path.write_text(text)


def run(mutants: Sequence[Mutant], *, seconds: float, in_all: float) -> int:
    """Try each mutant, print the outcomes and return the exit status: 1 unless all tried ones are red."""
    started, outcomes = time.monotonic(), dict.fromkeys(("red", "green", "broken", "late", "stale"), 0)
    with tree_copy() as copy, database_server() as url:
        names = sorted({name for mutant in mutants for name in mutant.tests})
        if run_with_python_of(copy, names, seconds=in_all) != "green":
            sys.stderr.write("The tests are not green without a mutant.\n")
            return 1
        for number, mutant in enumerate(mutants):
            if time.monotonic() - started > in_all:
                sys.stderr.write(f"Out of time: {len(mutants) - number} mutants were not tried.\n")
                break
            outcome = try_mutant(copy, mutant, seconds=seconds)
            if outcome == "broken" and os.environ.get("MUTANTS_LOG"):
                sys.stderr.write((copy.parent / "log").read_text()[-3000:])
            drop_databases(url)
            outcomes[outcome] += 1
            sys.stdout.write(f"{outcome:6} {mutant.name}\n")
            sys.stdout.flush()
    sys.stdout.write(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) + "\n")
    return 0 if outcomes["red"] == sum(outcomes.values()) else 1
