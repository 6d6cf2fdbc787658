-- Which amounts one person may approve, and who stands for an order: questions of the guards and of the application.

-- Exchange rates ----------------------------------------------------------------------------------------

-- The newest rate of a pair or its inverse; 1 within a currency; null if there is none.

CREATE OR REPLACE FUNCTION pair_rate(p_base text, p_quote text) RETURNS numeric
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT CASE WHEN p_base = p_quote THEN 1 ELSE (
        SELECT n.rate FROM (
            (SELECT f.rate, f.valid_from FROM fx_rate f
             WHERE f.base = p_base AND f.quote = p_quote AND f.valid_from <= now() ORDER BY f.valid_from DESC LIMIT 1)
            UNION ALL
            (SELECT 1 / f.rate, f.valid_from FROM fx_rate f
             WHERE f.base = p_quote AND f.quote = p_base AND f.valid_from <= now() ORDER BY f.valid_from DESC LIMIT 1)
        ) n ORDER BY n.valid_from DESC LIMIT 1) END
$$;

-- An amount in minor units of another currency, rounded down, at the newest rates, across the euro, and from
-- currents across the dollar; zero if no rate is known: then every amount is above it.

CREATE OR REPLACE FUNCTION convert_limit(p_amount bigint, p_from text, p_to text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT coalesce(floor(p_amount * 10::numeric ^ (t.exponent - f.exponent) * coalesce(
        pair_rate(p_from, p_to),
        pair_rate(p_from, 'EUR') * pair_rate('EUR', p_to),
        pair_rate(p_from, 'USD') * pair_rate('USD', p_to),
        pair_rate(p_from, 'USD') * pair_rate('USD', 'EUR') * pair_rate('EUR', p_to),
        pair_rate(p_from, 'EUR') * pair_rate('EUR', 'USD') * pair_rate('USD', p_to))), 0)::bigint
    FROM currency f, currency t WHERE f.code = p_from AND t.code = p_to
$$;

-- The rule ----------------------------------------------------------------------------------------------

-- The collective whose ADMINs approve an order; a person who gives decides alone.

CREATE OR REPLACE FUNCTION deciding_collective(p_order "order") RETURNS uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT CASE
        WHEN p_order.type IN ('REDEMPTION', 'SETTLEMENT') THEN p_order.to_id
        WHEN p_order.type = 'CASH_OUT' THEN (SELECT c.id FROM collective c WHERE c.is_platform)
        WHEN p_order.type = 'DONATION' AND p_order.payment_method_kind <> 'BALANCE'
            THEN (SELECT c.host_id FROM collective c WHERE c.id = p_order.to_id)
        ELSE p_order.from_id END
$$;

-- The largest amount, in minor units of the order's currency, that one person may approve; null if there is no
-- limit. Policies of the deciding collective, its host and the platform count, each the one written last of those
-- in force. For a volunteer who never signed in, one person approves 8 hours a week (from Monday, UTC), those
-- approved already included.

CREATE OR REPLACE FUNCTION single_approval_limit(p_order "order") RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT least(
        (SELECT min(convert_limit(y.amount_minor, y.currency, p_order.currency))
         FROM collective d
         CROSS JOIN LATERAL (SELECT DISTINCT k.id FROM (VALUES (d.id), (d.host_id),
             ((SELECT c.id FROM collective c WHERE c.is_platform))) k (id)) k
         CROSS JOIN LATERAL (SELECT a.amount_minor, a.currency FROM approval_policy a
                             WHERE a.collective_id = k.id AND a.valid_from <= now()
                             ORDER BY a.created_at DESC, a.id DESC LIMIT 1) y
         WHERE d.id = deciding_collective(p_order) AND d.type <> 'USER' AND y.amount_minor IS NOT NULL
           AND p_order.type NOT IN ('BONUS', 'ADDED_FUNDS') AND p_order.import_key IS NULL),
        CASE WHEN p_order.type = 'HOURS' AND p_order.import_key IS NULL
                  AND EXISTS (SELECT FROM collective c WHERE c.id = p_order.to_id AND c.claimed_at IS NULL) THEN
            greatest(0, 8000 - coalesce((
                SELECT sum(w.approved_amount) FROM "order" w
                WHERE w.to_id = p_order.to_id AND w.type = 'HOURS' AND w.status = 'PAID' AND w.id <> p_order.id
                  AND date_trunc('week', w.starts_at AT TIME ZONE 'UTC')
                      = date_trunc('week', p_order.starts_at AT TIME ZONE 'UTC')), 0))::bigint END)
$$;

-- The account that is left of a person, after merges.

CREATE OR REPLACE FUNCTION remaining_person(p_person uuid) RETURNS uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    WITH RECURSIVE up (id, into_id) AS (
        SELECT c.id, c.merged_into_id FROM collective c WHERE c.id = p_person
        UNION SELECT c.id, c.merged_into_id FROM up JOIN collective c ON c.id = up.into_id)
    SELECT up.id FROM up WHERE up.into_id IS NULL
$$;

-- The people who stand for an order: those who approved it as it is, and who logged hours for somebody else.

CREATE OR REPLACE FUNCTION approvers(p_order "order") RETURNS SETOF uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT remaining_person(a.approver_id) FROM approval a WHERE a.order_id = p_order.id AND a.voided_at IS NULL
    UNION
    SELECT remaining_person(p_order.created_by_id)
    WHERE p_order.type = 'HOURS' AND remaining_person(p_order.created_by_id) <> remaining_person(p_order.to_id)
$$;

REVOKE ALL ON FUNCTION pair_rate(text, text), convert_limit(bigint, text, text), deciding_collective("order"),
    single_approval_limit("order"), remaining_person(uuid), approvers("order") FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION pair_rate(text, text), convert_limit(bigint, text, text), deciding_collective("order"),
    single_approval_limit("order"), remaining_person(uuid), approvers("order") TO commonweal_app;
