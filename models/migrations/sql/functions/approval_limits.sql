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
-- Every approval asks: where nobody has a policy, nothing else is read. In PL/pgSQL, as the other questions that
-- every approval asks: a function in SQL that cannot become a part of its caller starts an executor at each call.

CREATE OR REPLACE FUNCTION single_approval_limit(p_order "order") RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_limit bigint;
BEGIN
    IF p_order.import_key IS NOT NULL OR p_order.type IN ('BONUS', 'ADDED_FUNDS') THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM approval_policy) THEN
        SELECT min(convert_limit(y.amount_minor, y.currency, p_order.currency)) INTO v_limit
        FROM collective d
        CROSS JOIN LATERAL (SELECT DISTINCT k.id FROM (VALUES (d.id), (d.host_id),
            ((SELECT c.id FROM collective c WHERE c.is_platform))) k (id)) k
        CROSS JOIN LATERAL (SELECT a.amount_minor, a.currency FROM approval_policy a
                            WHERE a.collective_id = k.id AND a.valid_from <= now()
                            ORDER BY a.created_at DESC, a.id DESC LIMIT 1) y
        WHERE d.id = deciding_collective(p_order) AND d.type <> 'USER' AND y.amount_minor IS NOT NULL;
    END IF;
    IF p_order.type = 'HOURS' THEN
        IF EXISTS (SELECT FROM collective c WHERE c.id = p_order.to_id AND c.claimed_at IS NULL) THEN
            v_limit := least(v_limit, greatest(0, 8000 - coalesce((
                SELECT sum(w.approved_amount) FROM "order" w
                WHERE w.to_id = p_order.to_id AND w.type = 'HOURS' AND w.status = 'PAID' AND w.id <> p_order.id
                  AND w.starts_at >= date_trunc('week', p_order.starts_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                  AND w.starts_at < (date_trunc('week', p_order.starts_at AT TIME ZONE 'UTC') + interval '7 days')
                                    AT TIME ZONE 'UTC'), 0))::bigint);
        END IF;
    END IF;
    RETURN v_limit;
END $$;

-- The account that is left of a person, after merges.

CREATE OR REPLACE FUNCTION remaining_person(p_person uuid) RETURNS uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    WITH RECURSIVE up (id, into_id) AS (
        SELECT c.id, c.merged_into_id FROM collective c WHERE c.id = p_person
        UNION SELECT c.id, c.merged_into_id FROM up JOIN collective c ON c.id = up.into_id)
    SELECT up.id FROM up WHERE up.into_id IS NULL
$$;

-- Who may decide ----------------------------------------------------------------------------------------

-- A person's own id, and those of the accounts that were merged into it.

CREATE OR REPLACE FUNCTION person_ids(p_person uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    WITH RECURSIVE ids (id) AS (
        SELECT p_person UNION SELECT c.id FROM ids JOIN collective c ON c.merged_into_id = ids.id)
    SELECT ids.id FROM ids
$$;

-- True if the id is the person's own, or that of an account that was merged into it.

CREATE OR REPLACE FUNCTION is_person(p_id uuid, p_person uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF p_id = p_person THEN
        RETURN true;
    END IF;
    IF EXISTS (SELECT FROM collective c WHERE c.merged_into_id = p_person) THEN
        RETURN coalesce(p_id IN (SELECT person_ids(p_person)), false);
    END IF;
    RETURN false;
END $$;

-- True if the person is the collective, or was an ADMIN of it or of its parent at any time since then.

CREATE OR REPLACE FUNCTION acted_for(p_person uuid, p_collective uuid, p_since timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_ids uuid[] := ARRAY[p_person]; v_parent uuid; v_id uuid;
BEGIN
    SELECT c.parent_id INTO v_parent FROM collective c WHERE c.id = p_collective;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM collective c WHERE c.merged_into_id = p_person) THEN
        v_ids := ARRAY(SELECT person_ids(p_person));
    END IF;
    -- One account after the other, and one collective after the other: each is one look-up.
    FOREACH v_id IN ARRAY v_ids LOOP
        IF v_id = p_collective THEN
            RETURN true;
        END IF;
        PERFORM FROM member m WHERE m.member_id = v_id AND m.collective_id = p_collective AND m.role = 'ADMIN'
                AND m.until IS NULL;
        IF FOUND THEN
            RETURN true;
        END IF;
        PERFORM FROM member m WHERE m.member_id = v_id AND m.role = 'ADMIN'
                AND m.until >= p_since AND m.collective_id IN (p_collective, v_parent);
        IF FOUND THEN
            RETURN true;
        END IF;
        IF v_parent IS NOT NULL THEN
            PERFORM FROM member m WHERE m.member_id = v_id AND m.collective_id = v_parent AND m.role = 'ADMIN'
                    AND m.until IS NULL;
            IF FOUND THEN
                RETURN true;
            END IF;
        END IF;
    END LOOP;
    RETURN false;
END $$;

-- True if the person has an interest in the approval of the order: the person made or acted for its beneficiary
-- at any time since. Whoever requests hours for a volunteer has none.

CREATE OR REPLACE FUNCTION has_interest(p_order "order", p_person uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_for uuid;
BEGIN
    IF p_order.type = 'HOURS' THEN
        RETURN is_person(p_order.to_id, p_person);
    ELSIF p_order.type IN ('REDEMPTION', 'CASH_OUT') THEN
        RETURN is_person(p_order.from_id, p_person);
    ELSIF p_order.type = 'EXPENSE' THEN
        v_for := p_order.to_id;
    ELSIF p_order.type IN ('SETTLEMENT', 'DONATION') THEN
        v_for := p_order.from_id;
    ELSE
        RETURN false;
    END IF;
    RETURN is_person(p_order.created_by_id, p_person) OR acted_for(p_person, v_for, p_order.created_at);
END $$;

-- True if the person is a user who can sign in: signed up, neither archived nor suspended.

CREATE OR REPLACE FUNCTION can_act(p_person uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM collective u
        WHERE u.id = p_person AND u.type = 'USER' AND u.claimed_at IS NOT NULL AND u.archived_at IS NULL
          AND NOT EXISTS (SELECT FROM suspension s WHERE s.user_id = u.id AND s.ended_at IS NULL))
$$;

-- True if the person can act and is an ADMIN of the collective that decides the order, of its host, of the platform
-- or, for hours, of the event.

CREATE OR REPLACE FUNCTION is_approving_admin(p_order "order", p_person uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT can_act(p_person) AND EXISTS (
        SELECT FROM collective d JOIN member m ON m.member_id = p_person AND m.role = 'ADMIN' AND m.until IS NULL
            AND m.collective_id IN (d.id, d.host_id, p_order.event_id, (SELECT p.id FROM collective p WHERE p.is_platform))
        WHERE d.id = deciding_collective(p_order))
$$;

-- The people who stand for an order: those who approved it as it is and still could, and who logged hours for
-- somebody else. Nobody stands for an order while suspended, or after losing the role or gaining an interest. The
-- ADMINs of a host may have one in a gift or a settlement.

CREATE OR REPLACE FUNCTION approvers(p_order "order") RETURNS SETOF uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT r.id FROM approval a CROSS JOIN LATERAL remaining_person(a.approver_id) r (id)
    WHERE a.order_id = p_order.id AND a.voided_at IS NULL AND is_approving_admin(p_order, r.id)
      AND (p_order.type IN ('DONATION', 'SETTLEMENT') OR NOT has_interest(p_order, r.id))
    UNION
    SELECT r.id FROM remaining_person(p_order.created_by_id) r (id)
    WHERE p_order.type = 'HOURS' AND r.id <> remaining_person(p_order.to_id) AND can_act(r.id)
$$;

REVOKE ALL ON FUNCTION pair_rate(text, text), convert_limit(bigint, text, text), deciding_collective("order"),
    single_approval_limit("order"), remaining_person(uuid), person_ids(uuid), is_person(uuid, uuid),
    acted_for(uuid, uuid, timestamptz),
    has_interest("order", uuid), can_act(uuid), is_approving_admin("order", uuid), approvers("order")
    FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION pair_rate(text, text), convert_limit(bigint, text, text), deciding_collective("order"),
    single_approval_limit("order"), remaining_person(uuid), person_ids(uuid), is_person(uuid, uuid),
    acted_for(uuid, uuid, timestamptz),
    has_interest("order", uuid), can_act(uuid), is_approving_admin("order", uuid), approvers("order")
    TO commonweal_app;
