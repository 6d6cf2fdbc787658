"""The commands that operate an installation: backup, restore, verify and doctor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from models import now
from schema.cli import audit as audit_command
from services.core.settings import Settings
from services.database import engine as database_engine
from services.ledger.audit import AuditIsRunning
from services.operation import backup as backups
from services.operation import copying, diagnosis, restore, verification
from services.operation.findings import State
from services.operation.verification import Verification

DONE, WRONG, ALREADY_RUNNING, WARNED = 0, 1, 3, 4
"""Exit codes; 2 is a wrong command line."""
_MARKS = {State.GOOD: "ok", State.WARNING: "warning", State.WRONG: "WRONG"}


def backup(settings: Settings, *, file: Path | None, as_json: bool) -> int:
    """Write a backup to a new file; 4 if damaged files are left out."""
    path = file or Path(f"commonweal-{now():%Y%m%dT%H%M%SZ}.backup")
    with database_engine.provide_database(settings) as located:
        made = backups.make_backup(located, path)
    _print(
        as_json,
        {
            "path": str(made.path),
            "sizeBytes": made.size_bytes,
            "files": made.files,
            "leftOut": made.left_out,
            "revision": made.revision,
            "at": made.made_at,
        },
        lambda: "\n".join(
            [
                f"{made.path}: {made.size_bytes} bytes, with {made.files} uploaded files. The settings, with"
                " COMMONWEAL_SECRET_KEY, are not in it",
                *(f"uploaded file {name} has other bytes: it is left out" for name in made.left_out),
            ]
        ),
    )
    return WARNED if made.left_out else DONE


def copy(settings: Settings, *, step: str, as_json: bool) -> int:
    """Do one step of a copy by logical replication; 1 if its end finds something wrong."""
    with database_engine.provide_database(settings) as located:
        if step == "publish":
            made = copying.publish(located)
            _print(as_json, vars(made), lambda: f"The role {made.role} may read {made.tables} tables")
        elif step == "prepare":
            tables = copying.prepare(located)
            _print(as_json, {"tables": tables}, lambda: f"{tables} tables are empty and may be filled")
        else:
            result = copying.finish(located)
            _print(as_json, _to_dict(result), lambda: _to_text(result))
            return DONE if result.is_clean else WRONG
    return DONE


def restore_backup(settings: Settings, *, file: Path, as_json: bool) -> int:
    """Restore a backup into an empty database, then verify everything; 1 if that finds something."""
    with database_engine.provide_database(settings) as located:
        restored = restore.restore_backup(located, file)
        result = verification.verify_stored(located, full=True)
    _print(
        as_json,
        {"madeAt": restored.manifest.made_at, "files": restored.files, "verification": _to_dict(result)},
        lambda: (
            f"Restored the backup of {restored.manifest.made_at}, with {restored.files} uploaded files\n"
            + _to_text(result)
        ),
    )
    return DONE if result.is_clean else WRONG


def verify_installation(settings: Settings, *, file: Path | None, full: bool, as_json: bool) -> int:
    """Verify what is stored, or a backup; 1 if something is wrong, 3 if an audit is running."""
    if file is not None:
        manifest = verification.verify_backup(file)
        _print(
            as_json,
            {"isClean": True, "madeAt": manifest.made_at, "entries": len(manifest.entries)},
            lambda: f"The backup of {manifest.made_at} is whole: {len(manifest.entries)} entries",
        )
        return DONE
    with database_engine.provide_database(settings) as located:
        try:
            result = verification.verify_stored(located, full=full)
        except AuditIsRunning as problem:
            message = problem.message
            _print(as_json, {"error": message}, lambda: f"commonweal: {message}")
            return ALREADY_RUNNING
    _print(as_json, _to_dict(result), lambda: _to_text(result))
    return DONE if result.is_clean else WRONG


def doctor(settings: Settings, *, as_json: bool) -> int:
    """Print what an operator should know; 1 if something is wrong, 4 if there are only warnings."""
    with database_engine.provide_database(settings) as located:
        findings = diagnosis.diagnose(located, is_embedded=not settings.database_url)
    states = {finding.state for finding in findings}
    _print(
        as_json,
        {
            "isClean": states <= {State.GOOD},
            "findings": [
                {"name": each.name, "state": each.state.value, "message": each.message} for each in findings
            ],
        },
        lambda: "\n".join(f"{_MARKS[each.state]:>8}  {each.name}: {each.message}" for each in findings),
    )
    if State.WRONG in states:
        return WRONG
    return WARNED if State.WARNING in states else DONE


def _to_dict(result: Verification) -> dict[str, Any]:
    return {
        "isClean": result.is_clean,
        "audit": audit_command.to_dict(result.audit),
        "files": result.files,
        "damagedFiles": result.damaged_files,
        "differences": result.differences,
    }


def _to_text(result: Verification) -> str:
    violated = [check for check in result.audit.checks if check.violations]
    lines = [f"{check.violations:>8}  {check.name}: {check.description}" for check in violated]
    lines += [f"uploaded file {message}" for message in result.damaged_files]
    lines += [f"the database differs: {difference}" for difference in result.differences]
    lines.append(
        f"{result.audit.transactions} transactions, {result.audit.postings} postings and {result.files}"
        f" uploaded files read: {'nothing is wrong' if result.is_clean else 'see above'}"
    )
    return "\n".join(lines)


def _print(as_json: bool, values: dict[str, Any], to_text: Callable[[], str]) -> None:
    if as_json:
        print(orjson.dumps(values, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode())
    else:
        print(to_text())
