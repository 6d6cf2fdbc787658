"""Compare one durable posting through ledger_post with pgbench's TPC-B-like transaction."""

import re
from dataclasses import dataclass
from statistics import median

from bench import markdown_tables
from bench.postgres_cluster import (
    BenchCluster,
    execute,
    host_statements,
    pgbench,
    recreate_database,
    require_clean,
    scalar,
)
from services.database.engine import APP_ROLE

ACCOUNTS = 100_000
_DATABASE = "posting"
_BOOK = "00000000-0000-7000-8000-000000000000"

# An account owner's id ends in its number in decimal; the hot account has the greatest number, so it is
# locked last.
_OWNER = "('00000000-0000-7000-8000-' || lpad({}::text, 12, '0'))::uuid"
_HOT = f"'00000000-0000-7000-8000-{ACCOUNTS:012d}'::uuid"

_FILL = (
    "INSERT INTO collective (id, slug, type, name, currency)"
    f" VALUES ('{_BOOK}', 'bench-book', 'NONPROFIT', 'Book', 'USD')",
    *host_statements(f"id = '{_BOOK}'"),
    "INSERT INTO collective (id, slug, type, name, currency, host_id, host_approved_at)"
    f" SELECT {_OWNER.format('n')}, 'bench-' || n, 'COMMUNITY', 'Bench ' || n, 'USD', '{_BOOK}', now()"
    f" FROM generate_series(1, {ACCOUNTS}) n",
    "INSERT INTO ledger_account (book_id, owner_id, currency, kind)"
    f" SELECT '{_BOOK}', {_OWNER.format('n')}, 'USD', 'BALANCE' FROM generate_series(1, {ACCOUNTS}) n",
    "VACUUM (ANALYZE) collective, ledger_account",  # a table analysed while empty is planned as empty
    "CHECKPOINT",
)

# Columns of a posting between two balances of one host; the other columns are null.
_AMOUNT = ":amount::bigint"
_COLUMNS = {
    "id": "uuidv7()",
    "group_id": "uuidv7()",
    "kind": "'MERGE'",  # needs no order
    "from_collective_id": "{payer}",
    "to_collective_id": "{payee}",
    "from_host_id": f"'{_BOOK}'",
    "to_host_id": f"'{_BOOK}'",
    "currency": "'USD'",
    "amount": _AMOUNT,
    "fx_rate": "1",
    "host_currency": "'USD'",
    "gross": _AMOUNT,
    "payment_processor_fee": "0",
    "platform_fee": "0",
    "host_fee": "0",
    "to_host_amount": _AMOUNT,
    "to_collective_amount": _AMOUNT,
    "from_host_currency": "'USD'",
    "from_host_fx_rate": "1",
    "from_host_amount": f"-({_AMOUNT})",
    "from_collective_currency": "'USD'",
    "from_collective_fx_rate": "1",
    "from_collective_amount": f"-({_AMOUNT})",
    "description": "'A transfer'",
    "has_public_side": "true",
}
_SCRIPT = (
    "\\set payer random({payers})\n\\set payee random({payees})\n\\set amount random(1, 5000)\n"
    "WITH claim AS (INSERT INTO idempotency (actor_id, key, request_hash, result_id)"
    " VALUES ({payer}, uuidv7()::text, sha256('bench'), uuidv7()) ON CONFLICT DO NOTHING RETURNING result_id)"
    f" SELECT ledger_post(ROW({{row}})::transaction, ARRAY['{_BOOK}', '{_BOOK}']::uuid[],"
    " ARRAY[{payer}, {payee}], ARRAY['USD', 'USD'], ARRAY['BALANCE', 'BALANCE'],"
    f" ARRAY[-({_AMOUNT}), {_AMOUNT}]) FROM claim;\n"
)


@dataclass(frozen=True)
class _Case:
    """A comparison: our script, the TPC-B scale, the number of clients, and the target ratio."""

    name: str
    script: str
    scale: int
    clients: int
    target: float


def run(cluster: BenchCluster) -> None:
    """Measure postings on one hot account and on random accounts."""
    large = 10 if cluster.is_quick else 100
    recreate_database(cluster, _DATABASE)
    execute(cluster, _DATABASE, *_FILL)
    scripts = write_scripts(cluster)
    for scale in (1, large):
        _fill_tpcb(cluster, scale)
    cases = [
        _Case("one hot account", scripts["hot"], 1, 2, 0.65),
        _Case("one hot account", scripts["hot"], 1, 16, 0.65),
        _Case("random accounts", scripts["random"], large, 2, 0.8),
        _Case("random accounts", scripts["random"], large, 16, 0.8),
    ]
    rows = [_compare(cluster, case) for case in cases]
    markdown_tables.print_table(
        "Posting: `ledger_post` beside `pgbench -b tpcb-like`",
        ["accounts", "beside scale", "connections", "postings/s", "TPC-B/s", "ratio", "target", "reached"],
        rows,
        f"Medians and ranges of {cluster.rounds} interleaved rounds of {cluster.seconds:g} s a side."
        f" Audit: {require_clean(cluster, _DATABASE)}. {_footprint(cluster)}",
    )


def write_scripts(cluster: BenchCluster) -> dict[str, str]:
    """Write the pgbench scripts and return their paths by name."""
    columns = scalar(
        cluster,
        _DATABASE,
        "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = 'transaction'::regclass AND attnum > 0 AND NOT attisdropped",
    )
    row = ", ".join(_COLUMNS.get(name, "NULL") for name in str(columns).split(","))
    owner, half = _OWNER.format, ACCOUNTS // 2
    sides = {
        "hot": (f"1, {ACCOUNTS - 1}", "1, 1", _HOT),
        "random": (f"1, {half}", f"{half + 1}, {ACCOUNTS}", owner(":payee")),
    }
    for name, (payers, payees, payee) in sides.items():
        text = _SCRIPT.replace("{row}", row)
        text = text.format(payers=payers, payees=payees, payer=owner(":payer"), payee=payee)
        (cluster.folder / f"{name}.sql").write_text(text)
    return {name: str(cluster.folder / f"{name}.sql") for name in sides}


def _fill_tpcb(cluster: BenchCluster, scale: int) -> None:
    execute(cluster, "postgres", f"DROP DATABASE IF EXISTS tpcb{scale}", f"CREATE DATABASE tpcb{scale}")
    pgbench(cluster, f"tpcb{scale}", "-i", "-q", "-s", str(scale))
    execute(cluster, f"tpcb{scale}", "VACUUM (ANALYZE)", "CHECKPOINT")


def _compare(cluster: BenchCluster, case: _Case) -> list[str]:
    """Run both sides in turn; the first round warms up and does not count."""
    ours, theirs = [], []
    for number in range(cluster.rounds + 1):
        seconds = cluster.seconds if number else min(cluster.seconds, 3)
        a = _rate(cluster, _DATABASE, case.clients, seconds, "-f", case.script, role=APP_ROLE)
        b = _rate(cluster, f"tpcb{case.scale}", case.clients, seconds, "-b", "tpcb-like")
        if number:
            ours.append(a)
            theirs.append(b)
    result = markdown_tables.compute_ratios(ours, theirs)
    return [
        case.name,
        str(case.scale),
        str(case.clients),
        markdown_tables.format_spread(ours, ".0f"),
        markdown_tables.format_spread(theirs, ".0f"),
        markdown_tables.format_spread(result),
        f"≥ {case.target}",
        markdown_tables.format_verdict(median(result), case.target),
    ]


def _rate(
    cluster: BenchCluster, name: str, clients: int, seconds: float, *options: str, role: str = "postgres"
) -> float:
    """Run pgbench once and return its transactions a second."""
    output = pgbench(
        cluster,
        name,
        "-n",
        "-M",
        "prepared",
        "-j",
        "2",
        "-c",
        str(clients),
        "-T",
        str(round(seconds)),
        *options,
        role=role,
    )
    rate = re.search(r"tps = ([\d.]+)", output)
    failed = re.search(r"number of failed transactions: (\d+)", output)
    if rate is None or failed is None or failed[1] != "0":
        raise SystemExit(f"pgbench reports no rate, or failed transactions:\n{output}")
    return float(rate[1])


def _footprint(cluster: BenchCluster) -> str:
    hot = scalar(
        cluster,
        _DATABASE,
        "SELECT round(100.0 * n_tup_hot_upd / nullif(n_tup_upd, 0), 1) FROM pg_stat_user_tables"
        " WHERE relname = 'ledger_account'",
    )
    each = scalar(
        cluster,
        _DATABASE,
        "SELECT (pg_total_relation_size('transaction') + pg_total_relation_size('posting'))"
        " / (SELECT count(*) FROM transaction)",
    )
    return (
        f"{hot} % of the updates of accounts change no index; {each} bytes a transaction with its postings."
    )
