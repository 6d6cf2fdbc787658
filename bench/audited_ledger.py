"""A ledger of ten million postings for the audit, inserted by SQL without its guards.

One host holds the money of all collectives. In each round every collective receives a gift with a host fee
(three postings), and half of them transfer to the other half (two postings). All balances follow by
arithmetic, so the rows are inserted in bulk; the audit shows that they are as `ledger_post` would write them.
"""

from bench.postgres_cluster import BenchCluster, execute, host_statements

COLLECTIVES = 10_000
POSTINGS_OF_A_ROUND = 4 * COLLECTIVES
_ROWS = COLLECTIVES + COLLECTIVES // 2
_HALF = COLLECTIVES // 2
_GIFT, _FEE, _MOVED = 1000, 50, 100
_ACCOUNT = 1000
"""Number of the first collective's account; the others follow."""
_CASH, _INCOME = _ACCOUNT + COLLECTIVES, _ACCOUNT + COLLECTIVES + 1
_HOST = "'00000001-0000-7000-8000-000000000000'::uuid"
_GIVER = "'00000003-0000-7000-8000-000000000000'::uuid"
_GIFT_SEQ = f"(round * {COLLECTIVES} + k + 1)"
_TABLES = ('"order"', "order_action", "transaction", "posting", "ledger_account")


def _collective(number: str) -> str:
    return f"('00000002-0000-7000-8000-' || lpad(({number})::text, 12, '0'))::uuid"


def _id_at(variant: str) -> str:
    """Return an id of version 7 made at a row's time."""
    milliseconds = "to_hex((extract(epoch FROM at) * 1000)::bigint)"
    return f"(lpad({milliseconds}, 12, '0') || '7000' || '{variant}' || lpad(to_hex(n), 15, '0'))::uuid"


_FILL = (
    "INSERT INTO collective (id, slug, type, name, currency, host_fee_bps)"
    f" VALUES ({_HOST}, 'audited-host', 'NONPROFIT', 'Host', 'USD', 500)",
    *host_statements("slug = 'audited-host'"),
    "INSERT INTO collective (id, slug, type, name, currency, claimed_at)"
    f" VALUES ({_GIVER}, 'audited-giver', 'USER', 'Giver', 'USD', now())",
    "INSERT INTO collective (id, slug, type, name, currency, host_id, host_approved_at)"
    f" SELECT {_collective('k')}, 'audited-' || k, 'COMMUNITY', 'Audited ' || k, 'USD', {_HOST}, now()"
    f" FROM generate_series(0, {COLLECTIVES - 1}) k",
    *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in _TABLES),
    "INSERT INTO ledger_account (book_id, id, owner_id, currency, kind, floor) OVERRIDING SYSTEM VALUE"
    f" SELECT {_HOST}, {_ACCOUNT} + k, {_collective('k')}, 'USD', 'BALANCE', 0"
    f" FROM generate_series(0, {COLLECTIVES - 1}) k"
    f" UNION ALL VALUES ({_HOST}, {_CASH}, {_HOST}, 'USD', 'CASH', NULL),"
    f" ({_HOST}, {_INCOME}, {_HOST}, 'USD', 'BALANCE', 0)",
)

# The rows of the rounds: gifts are numbered by their collective, transfers by their payer.
_ADD = (
    f"""CREATE UNLOGGED TABLE bench_row AS
    SELECT *, {_id_at("8")} AS id, {_id_at("9")} AS order_id
    FROM (
        SELECT n, n / {_ROWS} AS round, n % {_ROWS} % {COLLECTIVES} AS k,
            n % {_ROWS} < {COLLECTIVES} AS is_gift,
            {{since}} + (n - {{first}} * {_ROWS}) * interval '100 microseconds' AS at
        FROM generate_series({{first}}::bigint * {_ROWS}, {{last}} * {_ROWS} - 1) n
    ) x""",
    f"""INSERT INTO "order" (id, type, status, from_id, to_id, currency, amount, platform_fee_bps,
        payment_method_kind, created_at, updated_at)
    SELECT order_id, CASE WHEN is_gift THEN 'DONATION' ELSE 'TRANSFER' END, 'PAID',
        CASE WHEN is_gift THEN {_GIVER} ELSE {_collective("k")} END,
        CASE WHEN is_gift THEN {_collective("k")} ELSE {_collective(f"k + {_HALF}")} END,
        'USD', CASE WHEN is_gift THEN {_GIFT} ELSE {_MOVED} END, 0,
        CASE WHEN is_gift THEN 'MANUAL' ELSE 'BALANCE' END, at, at
    FROM bench_row ORDER BY n""",
    f"""INSERT INTO order_action (id, order_id, type, at, from_status, to_status)
    SELECT {_id_at("a")}, order_id, 'CREATE', at, NULL, 'PENDING' FROM bench_row
    UNION ALL SELECT {_id_at("b")}, order_id, 'PAY', at, 'PENDING', 'PAID' FROM bench_row""",
    f"""INSERT INTO transaction (id, group_id, kind, order_id, from_collective_id, to_collective_id,
        from_host_id, to_host_id, currency, amount, fx_rate, host_currency, gross, payment_processor_fee,
        platform_fee, host_fee, to_host_amount, to_collective_amount, from_host_currency, from_host_fx_rate,
        from_host_amount, from_collective_currency, from_collective_fx_rate, from_collective_amount,
        has_public_side, at, created_at, xid)
    SELECT id, order_id, 'DONATION', order_id, {_GIVER}, {_collective("k")}, NULL,
        {_HOST}, 'USD', {_GIFT}, 1, 'USD', {_GIFT}, 0, 0, {_FEE},
        {_GIFT}, {_GIFT - _FEE}, NULL, NULL, NULL, NULL, NULL, NULL, true, at, at, 1
    FROM bench_row WHERE is_gift
    UNION ALL
    SELECT id, order_id, 'TRANSFER', order_id, {_collective("k")}, {_collective(f"k + {_HALF}")}, {_HOST},
        {_HOST}, 'USD', {_MOVED}, 1, 'USD', {_MOVED}, 0, 0, 0,
        {_MOVED}, {_MOVED}, 'USD', 1, -{_MOVED}, 'USD', 1, -{_MOVED}, true, at, at, 1
    FROM bench_row WHERE NOT is_gift""",
    f"""INSERT INTO posting (book_id, account_id, seq, transaction_id, currency, amount, balance_after, at)
    SELECT {_HOST}, leg.account, leg.seq, id, 'USD', leg.amount, leg.balance, at
    FROM bench_row CROSS JOIN LATERAL (VALUES
        (is_gift, {_CASH}, {_GIFT_SEQ}, -{_GIFT}, -{_GIFT} * {_GIFT_SEQ}),
        (is_gift, {_INCOME}, {_GIFT_SEQ}, {_FEE}, {_FEE} * {_GIFT_SEQ}),
        (is_gift, {_ACCOUNT} + k, round * 2 + 1, {_GIFT - _FEE}, {_GIFT - _FEE} * (round + 1)
            + CASE WHEN k < {_HALF} THEN -{_MOVED} ELSE {_MOVED} END * round),
        (NOT is_gift, {_ACCOUNT} + k, round * 2 + 2, -{_MOVED}, {_GIFT - _FEE - _MOVED} * (round + 1)),
        (NOT is_gift, {_ACCOUNT} + k + {_HALF}, round * 2 + 2, {_MOVED},
            {_GIFT - _FEE + _MOVED} * (round + 1))
    ) AS leg(applies, account, seq, amount, balance)
    WHERE leg.applies ORDER BY n""",
    f"""INSERT INTO raised_total AS r (subject_id, currency, raised_minor)
    SELECT {_collective("k")}, 'USD', {_GIFT} * count(*) FROM bench_row WHERE is_gift GROUP BY k
    ON CONFLICT (subject_id, currency) DO UPDATE SET raised_minor = r.raised_minor + excluded.raised_minor""",
    """UPDATE ledger_account a SET posted = p.balance_after, seq = p.seq, last_at = p.at
    FROM (SELECT DISTINCT ON (account_id) * FROM posting
        WHERE transaction_id IN (SELECT id FROM bench_row) ORDER BY account_id, seq DESC) p
    WHERE a.id = p.account_id""",
    "DROP TABLE bench_row",
)


# Indexes are built after the rows: one by one, the rows would take three times as long.
_DROP_INDEXES = """
CREATE TABLE bench_index AS
    SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index
    WHERE indrelid IN ('posting'::regclass, 'transaction'::regclass, 'order_action'::regclass)
        AND NOT indisprimary;
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT * FROM bench_index LOOP EXECUTE 'DROP INDEX ' || one.name; END LOOP;
END $$;
ALTER TABLE posting DROP CONSTRAINT pk_posting"""
_BUILD_INDEXES = """
SET maintenance_work_mem = '512MB';
ALTER TABLE posting ADD CONSTRAINT pk_posting PRIMARY KEY (book_id, account_id, seq);
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT * FROM bench_index LOOP EXECUTE one.definition; END LOOP;
END $$;
DROP TABLE bench_index"""


def fill(cluster: BenchCluster, name: str, *, rounds: int) -> None:
    """Fill a migrated database with the first rounds, a day old."""
    execute(cluster, name, *_FILL, _DROP_INDEXES)
    *rows, balances, drop = _ADD
    values = {"first": 0, "last": rounds, "since": "now() - interval '1 day'"}
    execute(cluster, name, *(statement.format(**values) for statement in rows), _BUILD_INDEXES)
    execute(cluster, name, balances, drop, "VACUUM (ANALYZE)", "CHECKPOINT")


def add(cluster: BenchCluster, name: str, *, first: int, last: int, since: str = "now()") -> None:
    """Add the rounds from `first` up to `last`, without it."""
    execute(cluster, name, *(statement.format(first=first, last=last, since=since) for statement in _ADD))
