"""The command line interface, `commonweal`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from schema.cli import audit as audit_command
from schema.cli import commands, demo_loading, history_commands, operation_commands, serving
from services.core import settings as environment
from services.core.errors import ConfigurationError, Problem
from services.core.settings import Settings

_INTERRUPTED, _OUTPUT_CLOSED = 130, 141
_EPILOG = """examples:
  commonweal serve --demo                         try it, with a database of its own and a demo world
  commonweal worker                               send mails and run jobs apart from the servers
  commonweal migrate                              bring the database to this version
  commonweal admin ada@example.org                make a user an ADMIN of the platform
  commonweal host create opensource --name "Open Source" --currency USD
  commonweal import open-collective ledger.csv --host opensource
  commonweal export hours --nonprofit food-bank --from 2026-01-01 --until 2026-12-31 hours.csv
  commonweal audit                                check the ledger
  commonweal backup monday.backup                 write everything to a file
  commonweal doctor                               check the installation

exit codes:
  0 done; 1 refused or failed, with the reason on one line; 2 wrong arguments; 3 another audit is running;
  4 warnings only (doctor); 130 interrupted; 141 the reader of the output has closed it

Settings are environment variables that begin with COMMONWEAL_; docs/settings.md lists them."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help()
        return 0
    try:
        settings = environment.load()
        run: Callable[..., int] = options.run
        return run(options, settings)
    except (Problem, ConfigurationError) as problem:
        print(f"commonweal: {problem}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Who reads the output has seen enough. Nothing is left to be written when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _OUTPUT_CLOSED
    except (OSError, psycopg.Error, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()
        print(f"commonweal: {reason[0] if reason else type(error).__name__}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="commonweal",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"commonweal {version('commonweal')}")
    parser.set_defaults(run=None)
    add = parser.add_subparsers(metavar="COMMAND").add_parser

    serve = add("serve", help="run the server; without a database URL, on an embedded database")
    serve.add_argument("--demo", action="store_true", help="load the demo world if the database is empty")
    serve.add_argument("--no-migrate", action="store_true", help="leave the database as it is")
    serve.set_defaults(run=lambda o, s: serving.serve(s, demo=o.demo, migrate_first=not o.no_migrate))

    worker = add("worker", help="send mails and run jobs, beside servers with COMMONWEAL_WORKER=none")
    worker.set_defaults(run=lambda _, __: serving.work())

    migrate = add("migrate", help="migrate the database to the latest version")
    migrate.add_argument("--check", action="store_true", help="only name its differences from this version")
    migrate.add_argument("--write-catalogue", action="store_true", help="write the file that --check reads")
    migrate.set_defaults(run=_migrate)

    demo = add("demo", help="load the demo world into an empty database")
    demo.set_defaults(run=lambda _, s: demo_loading.load(s))

    admin = add(
        "admin",
        help="make the user with this address an ADMIN of the platform; print a first link",
    )
    admin.add_argument("email")
    admin.add_argument(
        "--link", action="store_true", help="print a link for a new password, too, if there is one already"
    )
    admin.set_defaults(run=lambda o, s: asyncio.run(commands.add_admin(s, o.email, renews_password=o.link)))

    factors = add("remove-factors", help="remove the second factors of a user who has lost them all")
    factors.add_argument("email")
    factors.set_defaults(run=lambda o, s: asyncio.run(commands.remove_factors(s, o.email)))

    _add_history(add)

    exporting = add("export", help="write data to a file")
    exports = exporting.add_subparsers(required=True, metavar="WHAT")
    hours = exports.add_parser("hours", help="a nonprofit's approved hours as CSV")
    hours.add_argument("--nonprofit", required=True, help="slug of the nonprofit")
    hours.add_argument("--from", dest="first_day", required=True, type=_day, help="YYYY-MM-DD")
    hours.add_argument("--until", dest="last_day", required=True, type=_day, help="YYYY-MM-DD, inclusive")
    hours.add_argument("file", nargs="?", type=Path, help="output file; default: standard output")
    hours.set_defaults(
        run=lambda o, s: asyncio.run(
            commands.export_hours(s, nonprofit=o.nonprofit, days=(o.first_day, o.last_day), file=o.file)
        )
    )

    fx = add("fx", help="exchange rates")
    fx_commands = fx.add_subparsers(required=True, metavar="ACTION")
    refresh = fx_commands.add_parser("refresh", help="add the latest rates of the European Central Bank")
    refresh.set_defaults(run=lambda _, s: asyncio.run(commands.refresh_rates(s)))

    audit = add(
        "audit",
        help="check what was added to the ledger since the last audit",
        description="Exit code 0: no violation; 1: a promise is violated; 3: another audit is running.",
    )
    audit.add_argument("--full", action="store_true", help="check everything again")
    audit.add_argument("--json", action="store_true", help="print JSON, with a sentence for each check")
    audit.set_defaults(run=lambda o, s: audit_command.audit(s, full=o.full, as_json=o.json))

    _add_operation(add)

    schema = add("schema", help="print the GraphQL schema")
    schema.add_argument("--check", action="store_true", help="compare it with the committed file")
    schema.add_argument("--write", action="store_true", help="write the committed file")
    schema.set_defaults(run=lambda o, _: commands.schema(check=o.check, write=o.write))
    return parser


def _add_operation(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands that operate an installation."""
    backup = add("backup", help="write the database and the uploaded files to a new file")
    backup.add_argument("file", nargs="?", type=Path, help="default: commonweal-TIME.backup")
    backup.set_defaults(run=lambda o, s: operation_commands.backup(s, file=o.file, as_json=o.json))

    restore = add(
        "restore",
        help="restore a backup into an empty database, and verify it",
        description="Exit code 0: restored and sound; 1: refused, failed, or not sound.",
    )
    restore.add_argument("file", type=Path)
    restore.set_defaults(run=lambda o, s: operation_commands.restore_backup(s, file=o.file, as_json=o.json))

    verify = add(
        "verify",
        help="verify the ledger, the uploaded files and the guards, or a backup",
        description="Exit code 0: all is sound; 1: something is not; 3: an audit is running.",
    )
    verify.add_argument("file", nargs="?", type=Path, help="a backup to read as a whole instead")
    verify.add_argument("--full", action="store_true", help="audit the whole ledger again")
    verify.set_defaults(
        run=lambda o, s: operation_commands.verify_installation(s, file=o.file, full=o.full, as_json=o.json)
    )

    copy = add(
        "copy",
        help="copy the database to another server by logical replication",
        description="publish: on the original; prepare: on a database that was only migrated; finish: on the"
        " copy, once it has everything. docs/operations.md has all steps.",
    )
    copy.add_argument("step", choices=["publish", "prepare", "finish"])
    copy.set_defaults(run=lambda o, s: operation_commands.copy(s, step=o.step, as_json=o.json))

    doctor = add(
        "doctor",
        help="check settings, roles, versions, clocks, disk, files, mail, and the last backup and audit",
        description="Exit code 0: all is well; 1: something is wrong; 4: there are warnings only.",
    )
    doctor.set_defaults(run=lambda o, s: operation_commands.doctor(s, as_json=o.json))
    for command in (backup, restore, verify, copy, doctor):
        command.add_argument("--json", action="store_true", help="print JSON")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day, such as 2026-01-31") from None


def _add_history(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands that bring an organization's history."""
    importing = add("import", help="import another system's history")
    sources = importing.add_subparsers(required=True, metavar="SOURCE")
    source = sources.add_parser("open-collective", help='an Open Collective "separate transactions" export')
    source.add_argument("file", type=Path)
    source.add_argument("--host", required=True, help="slug of the host that held the money")
    source.add_argument("--collective", help="slug of the collective; default: the slug in the file")
    source.add_argument(
        "--amounts-in", metavar="CURRENCY", help="currency of the file, if not the collective's"
    )
    source.add_argument("--strict", action="store_true", help="refuse a file that does not agree with itself")
    source.set_defaults(
        run=lambda o, s: asyncio.run(
            history_commands.import_open_collective(
                s, o.file, host=o.host, collective=o.collective, amounts_in=o.amounts_in, is_strict=o.strict
            )
        )
    )

    host = add("host", help="hosts, which hold the money of others")
    create = host.add_subparsers(required=True, metavar="ACTION").add_parser(
        "create", help="create a host that is approved at once"
    )
    create.add_argument("slug")
    create.add_argument("--name", required=True)
    create.add_argument("--currency", required=True, help="for example USD")
    create.add_argument("--type", choices=["NONPROFIT", "BUSINESS"], default="NONPROFIT")
    create.add_argument("--admin", metavar="EMAIL", help="address of its first ADMIN")
    create.set_defaults(
        run=lambda o, s: asyncio.run(
            history_commands.create_host(
                s,
                slug=o.slug,
                name=o.name,
                currency=o.currency,
                collective_type=o.type,
                admin_email=o.admin,
            )
        )
    )


def _migrate(options: argparse.Namespace, settings: Settings) -> int:
    if options.write_catalogue:
        return commands.write_catalogue()
    if options.check:
        return commands.check_database(settings)
    return asyncio.run(commands.migrate(settings))


if __name__ == "__main__":
    sys.exit(main())
