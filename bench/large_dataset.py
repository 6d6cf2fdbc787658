"""A large data set, inserted by SQL: collectives with members and roles, and donations with their orders.

The postings go through `ledger_post`, so that the ledger passes its audit as if the server had written it.
"""

from bench.postgres_cluster import BenchCluster, execute, host_statements, scalar

HOSTS = 4
COLLECTIVES = 1_000
PEOPLE = 200
MEMBERS = 12
"""Members of each collective, besides its host."""
DONATIONS = 20_000
_FUNDS_MINOR = 100_000_00
_FEE_BPS = 500
_HOST, _COLLECTIVE, _PERSON = 1, 2, 3


def _id(kind: int, number: str) -> str:
    return f"('0000000{kind}-0000-7000-8000-' || lpad(({number})::text, 12, '0'))::uuid"


def _host_of(number: str) -> str:
    return _id(_HOST, f"{number} % {HOSTS}")


_FILL = (
    "INSERT INTO collective (id, slug, type, name, currency, host_fee_bps)"
    f" SELECT {_id(_HOST, 'n')}, 'large-host-' || n, 'NONPROFIT', 'Large Host ' || n, 'USD', {_FEE_BPS}"
    f" FROM generate_series(0, {HOSTS - 1}) n",
    *host_statements("slug LIKE 'large-host-%'"),
    "INSERT INTO collective (id, slug, type, name, description, website, currency, host_id, host_approved_at,"
    " created_at)"
    f" SELECT {_id(_COLLECTIVE, 'n')}, 'large-' || n, 'COMMUNITY', 'Large ' || n,"
    " 'The community number ' || n,"
    f" 'https://large-' || n || '.example', 'USD', {_host_of('n')}, now(),"
    f" now() - n * interval '1 minute' FROM generate_series(0, {COLLECTIVES - 1}) n",
    "INSERT INTO collective (id, slug, type, name, currency, claimed_at)"
    f" SELECT {_id(_PERSON, 'n')}, 'large-person-' || n, 'USER', 'Person ' || n, 'USD', now()"
    f" FROM generate_series(0, {PEOPLE - 1}) n",
    "INSERT INTO ledger_account (book_id, owner_id, currency, kind, floor, credit_limit)"
    " SELECT a.id, b.id, 'USD', 'CLEARING', -1000000000000, 1000000000000"
    " FROM collective a CROSS JOIN collective b WHERE a.id <> b.id AND a.host_id = a.id AND b.host_id = b.id",
    "INSERT INTO member (id, collective_id, member_id, role, since)"
    f" SELECT uuidv7(), {_id(_COLLECTIVE, 'n')}, {_host_of('n')}, 'HOST', now() - interval '1 day'"
    f" FROM generate_series(0, {COLLECTIVES - 1}) n",
    "INSERT INTO member (id, collective_id, member_id, role, since)"
    f" SELECT uuidv7(), {_id(_COLLECTIVE, 'n')}, {_id(_PERSON, f'(n * {MEMBERS} + k) % {PEOPLE}')},"
    " (ARRAY['ADMIN', 'MEMBER', 'ACCOUNTANT', 'BACKER'])[k % 4 + 1], now() - k * interval '1 hour'"
    f" FROM generate_series(0, {COLLECTIVES - 1}) n CROSS JOIN generate_series(0, {MEMBERS - 1}) k",
)

# A paid order with its transaction and postings; without a payer's host it adds funds.
_POST = """
CREATE FUNCTION bench_post(p_kind text, p_from uuid, p_from_host uuid, p_to uuid, p_to_host uuid,
    p_amount bigint, p_description text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_order uuid := uuidv7(); v_inside boolean := p_from_host IS NOT DISTINCT FROM p_to_host;
    v_fee bigint := CASE WHEN v_inside OR p_from_host IS NULL THEN 0 ELSE p_amount * {fee} / 10000 END;
    v_row transaction := jsonb_populate_record(NULL::transaction, jsonb_build_object(
        'id', uuidv7(), 'group_id', v_order, 'kind', p_kind, 'order_id', v_order,
        'from_collective_id', CASE WHEN p_from_host IS NOT NULL THEN p_from END,
        'to_collective_id', p_to, 'from_host_id', p_from_host, 'to_host_id', p_to_host, 'currency', 'USD',
        'amount', p_amount, 'fx_rate', 1, 'host_currency', 'USD', 'gross', p_amount,
        'payment_processor_fee', 0, 'platform_fee', 0, 'host_fee', v_fee, 'to_host_amount', p_amount,
        'to_collective_amount', p_amount - v_fee,
        'description', p_description, 'has_public_side', true)
        || CASE WHEN p_from_host IS NULL THEN '{{}}'::jsonb ELSE jsonb_build_object(
        'from_host_currency', 'USD', 'from_host_fx_rate', 1, 'from_host_amount', -p_amount,
        'from_collective_currency', 'USD', 'from_collective_fx_rate', 1,
        'from_collective_amount', -p_amount) END);
BEGIN
    INSERT INTO "order" (id, type, status, from_id, to_id, currency, amount, platform_fee_bps,
        payment_method_kind, origin_unknown, description)
    VALUES (v_order, p_kind, 'PAID', p_from, p_to, 'USD', p_amount, 0,
        CASE WHEN p_from_host IS NOT NULL THEN 'BALANCE' END, p_from_host IS NULL, p_description);
    PERFORM ledger_post(v_row, array_agg(l.book_id), array_agg(l.owner_id), array_agg(l.currency),
                        array_agg(l.kind), array_agg(l.amount))
    FROM (SELECT book_id, owner_id, currency, kind, sum(amount)::bigint AS amount
          FROM transaction_legs(v_row, p_kind, NULL) GROUP BY book_id, owner_id, currency, kind
          ORDER BY book_id, owner_id, currency, kind COLLATE "C") l;
END $$"""

# Commits every 100 rows, so that dead versions of a busy account's row do not pile up.
_POST_ALL = """
DO $$ BEGIN
    FOR n IN 0..{collectives} - 1 LOOP
        PERFORM bench_post('ADDED_FUNDS', {host}, NULL, {to}, {host}, {funds}, 'Funds ' || n);
        IF n % 100 = 0 THEN COMMIT; END IF;
    END LOOP;
    FOR n IN 1..{donations} LOOP
        PERFORM bench_post('DONATION', {payer}, {payer_host}, {payee}, {payee_host}, n % 50 * 100 + 100,
            'Donation ' || n);
        IF n % 100 = 0 THEN COMMIT; END IF;
    END LOOP;
END $$"""


def fill(cluster: BenchCluster, name: str) -> None:
    """Fill a migrated database that has its platform; takes about half a minute."""
    payer, payee = f"(n * 7 % {COLLECTIVES})", f"((n * 13 + 1) % {COLLECTIVES})"
    execute(
        cluster,
        name,
        *_FILL,
        _POST.format(fee=_FEE_BPS),
        _POST_ALL.format(
            collectives=COLLECTIVES,
            donations=DONATIONS,
            funds=_FUNDS_MINOR,
            host=_host_of("n"),
            to=_id(_COLLECTIVE, "n"),
            payer=_id(_COLLECTIVE, payer),
            payer_host=_host_of(payer),
            payee=_id(_COLLECTIVE, payee),
            payee_host=_host_of(payee),
        ),
        "DROP FUNCTION bench_post",
        "VACUUM (ANALYZE)",
        "CHECKPOINT",
    )
    if (count := scalar(cluster, name, "SELECT count(*) FROM transaction")) != COLLECTIVES + DONATIONS:
        raise SystemExit(f"The large data set has {count} transactions")
