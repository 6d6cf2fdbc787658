-- The legs of a transaction: what its figures mean in the books.

-- The legs that follow from a transaction's figures, parties and kind; docs/ledger.md has the same table in words.
-- Several rows may be of one account: callers add them up. p_kind is the kind that decides: a refund's is its
-- original's. p_platform_id owns the platform's fee.
-- Reads its arguments alone. In plain SQL, so that it becomes part of the statement that asks.

CREATE OR REPLACE FUNCTION transaction_legs(t transaction, p_kind text, p_platform_id uuid)
RETURNS TABLE (book_id uuid, owner_id uuid, currency text, kind text, amount bigint)
LANGUAGE sql IMMUTABLE AS $$
    SELECT leg.book_id, leg.owner_id, leg.currency, leg.kind, leg.amount
    FROM (SELECT p_kind IN ('HOURS', 'BONUS') AS issues,
                 p_kind = 'SETTLEMENT' AS settles,
                 p_kind = 'PLATFORM_FEE_SETTLEMENT' AS settles_fees,
                 p_kind NOT IN ('HOURS', 'BONUS', 'SETTLEMENT', 'PLATFORM_FEE_SETTLEMENT') AS moves,
                 t.from_host_id IS NOT NULL AS pays,
                 t.to_host_id IS NOT NULL AS receives,
                 coalesce(t.from_host_id = t.to_host_id, false) AS is_inside,
                 t.gross - t.payment_processor_fee - t.platform_fee - t.host_fee AS net) AS f,
    LATERAL (
        -- Branches instead of VALUES: only what applies is computed. OFFSET keeps them together.
        -- Currents are issued.
        SELECT t.to_host_id, t.from_collective_id, t.currency, 'ISSUANCE', -t.amount WHERE f.issues
        UNION ALL SELECT t.to_host_id, t.to_collective_id, t.currency, 'BALANCE', t.amount WHERE f.issues
        -- A host pays another what it owes it, from bank to bank.
        UNION ALL SELECT t.from_host_id, t.to_host_id, t.currency, 'CLEARING', -t.amount WHERE f.settles
        UNION ALL SELECT t.from_host_id, t.from_host_id, t.from_host_currency, 'CASH', -t.from_host_amount
            WHERE f.settles
        UNION ALL SELECT t.from_host_id, t.from_host_id, t.currency, 'EXCHANGE', t.amount
            WHERE f.settles AND t.currency <> t.from_host_currency
        UNION ALL SELECT t.from_host_id, t.from_host_id, t.from_host_currency, 'EXCHANGE', t.from_host_amount
            WHERE f.settles AND t.currency <> t.from_host_currency
        UNION ALL SELECT t.to_host_id, t.from_host_id, t.currency, 'CLEARING', t.amount WHERE f.settles
        UNION ALL SELECT t.to_host_id, t.to_host_id, t.currency, 'CASH', -t.amount WHERE f.settles
        -- A host pays the platform the fees that it kept for it.
        UNION ALL SELECT t.from_host_id, p_platform_id, t.from_host_currency, 'BALANCE', t.from_host_amount
            WHERE f.settles_fees
        UNION ALL SELECT t.from_host_id, t.from_host_id, t.from_host_currency, 'CASH', -t.from_host_amount
            WHERE f.settles_fees
        UNION ALL SELECT t.to_host_id, p_platform_id, t.currency, 'BALANCE', t.amount WHERE f.settles_fees
        UNION ALL SELECT t.to_host_id, t.to_host_id, t.currency, 'CASH', -t.amount WHERE f.settles_fees
        -- Everything else: what the paying balance gives, ...
        UNION ALL SELECT t.from_host_id, t.from_collective_id, t.from_collective_currency, 'BALANCE',
            t.from_collective_amount
            WHERE f.moves AND f.pays
        -- ... to outside, by the host's bank;
        UNION ALL SELECT t.from_host_id, t.from_host_id, t.from_host_currency, 'CASH', -t.from_host_amount
            WHERE f.moves AND f.pays AND NOT f.receives
        UNION ALL SELECT t.from_host_id, t.from_host_id, t.from_collective_currency, 'EXCHANGE',
            -t.from_collective_amount
            WHERE f.moves AND f.pays AND NOT f.receives AND t.from_collective_currency <> t.from_host_currency
        UNION ALL SELECT t.from_host_id, t.from_host_id, t.from_host_currency, 'EXCHANGE', t.from_host_amount
            WHERE f.moves AND f.pays AND NOT f.receives AND t.from_collective_currency <> t.from_host_currency
        -- ... to another host, which is then owed the gross;
        UNION ALL SELECT t.from_host_id, t.to_host_id, t.host_currency, 'CLEARING', t.gross
            WHERE f.moves AND f.pays AND f.receives AND NOT f.is_inside
        UNION ALL SELECT t.from_host_id, t.from_host_id, t.from_collective_currency, 'EXCHANGE',
            -t.from_collective_amount
            WHERE f.moves AND f.pays AND f.receives AND NOT f.is_inside
                AND t.from_collective_currency <> t.host_currency
        UNION ALL SELECT t.from_host_id, t.from_host_id, t.host_currency, 'EXCHANGE', -t.gross
            WHERE f.moves AND f.pays AND f.receives AND NOT f.is_inside
                AND t.from_collective_currency <> t.host_currency
        UNION ALL SELECT t.to_host_id, t.from_host_id, t.host_currency, 'CLEARING', -t.gross
            WHERE f.moves AND f.pays AND f.receives AND NOT f.is_inside
        UNION ALL SELECT t.to_host_id, t.to_host_id, t.host_currency, 'CASH', t.payment_processor_fee
            WHERE f.moves AND f.pays AND f.receives AND NOT f.is_inside
        -- ... or inside one book, where no cash moves.
        UNION ALL SELECT t.to_host_id, t.to_host_id, t.from_collective_currency, 'EXCHANGE',
            -t.from_collective_amount
            WHERE f.moves AND f.is_inside AND t.from_collective_currency <> t.host_currency
        UNION ALL SELECT t.to_host_id, t.to_host_id, t.host_currency, 'EXCHANGE', t.from_host_amount
            WHERE f.moves AND f.is_inside AND t.from_collective_currency <> t.host_currency
        -- What arrives from outside,
        UNION ALL SELECT t.to_host_id, t.to_host_id, t.host_currency, 'CASH', t.payment_processor_fee - t.gross
            WHERE f.moves AND f.receives AND NOT f.pays
        -- the fees,
        UNION ALL SELECT t.to_host_id, p_platform_id, t.host_currency, 'BALANCE', t.platform_fee
            WHERE f.moves AND f.receives
        UNION ALL SELECT t.to_host_id, t.to_host_id, t.host_currency, 'BALANCE', t.host_fee
            WHERE f.moves AND f.receives
        -- and the rest.
        UNION ALL SELECT t.to_host_id, t.to_collective_id, t.currency, 'BALANCE', t.to_collective_amount
            WHERE f.moves AND f.receives
        UNION ALL SELECT t.to_host_id, t.to_host_id, t.host_currency, 'EXCHANGE',
            CASE WHEN f.is_inside THEN -t.from_host_amount - t.platform_fee - t.host_fee ELSE f.net END
            WHERE f.moves AND f.receives AND t.currency <> t.host_currency
        UNION ALL SELECT t.to_host_id, t.to_host_id, t.currency, 'EXCHANGE', -t.to_collective_amount
            WHERE f.moves AND f.receives AND t.currency <> t.host_currency
        OFFSET 0
    ) AS leg(book_id, owner_id, currency, kind, amount)
    WHERE leg.amount <> 0
$$;

-- An amount in another currency, rounded half away from zero. Minor units; the rate is between major units.

CREATE OR REPLACE FUNCTION converted(p_amount bigint, p_rate numeric, p_source text, p_target text) RETURNS numeric
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF p_source = p_target THEN
        RETURN p_amount;
    END IF;
    RETURN (SELECT round(p_amount * p_rate * 10::numeric ^ (t.exponent - s.exponent))
            FROM currency s, currency t WHERE s.code = p_source AND t.code = p_target);
END $$;

-- Refuses figures that do not follow from the amount and the rates, as docs/ledger.md defines them. What the payer
-- gives beyond the amount is the fee of its payout.
-- One unit of tolerance where a quotient of rates is rounded.

CREATE OR REPLACE FUNCTION require_figures_of_amount(t transaction) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_fee bigint := t.gross - converted(t.amount, t.fx_rate, t.currency, t.host_currency);
    v_fees bigint := t.payment_processor_fee + t.platform_fee + t.host_fee;
BEGIN
    IF v_fee = 0 AND t.currency = t.host_currency
       AND (t.from_host_id IS NULL
            OR (t.from_host_currency, t.from_collective_currency) = (t.currency, t.currency)
            AND (t.from_host_amount, t.from_collective_amount) = (-t.amount, -t.amount)) THEN
        RETURN;  -- most transactions: one currency, and nothing beyond the amount
    END IF;
    -- What cannot be computed is refused, too: IS NOT TRUE.
    IF v_fee <> 0 AND (t.to_host_id IS NOT NULL OR v_fee <> t.payment_processor_fee)
       OR t.to_host_id IS NOT NULL AND t.currency <> t.host_currency
          AND (abs(t.amount - t.to_collective_amount
                   - (SELECT round(v_fees * 10::numeric ^ (u.exponent - h.exponent) / t.fx_rate)
                      FROM currency u, currency h WHERE u.code = t.currency AND h.code = t.host_currency))
               <= 1) IS NOT TRUE
       OR t.from_host_id IS NOT NULL AND (
          t.from_host_amount IS DISTINCT FROM
              -v_fee - converted(t.amount, t.from_host_fx_rate, t.currency, t.from_host_currency)
          OR (abs(t.from_collective_amount
                  + converted(t.amount, t.from_collective_fx_rate, t.currency, t.from_collective_currency)
                  + converted(v_fee, t.from_collective_fx_rate / t.from_host_fx_rate, t.from_host_currency,
                              t.from_collective_currency)) <= (v_fee <> 0)::int) IS NOT TRUE) THEN
        RAISE EXCEPTION 'the figures of a transaction must follow from its amount and rates'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'transaction_figures';
    END IF;
END $$;

-- True if the legs are those of figures in one book and one currency, as most are. False says nothing: then the rows
-- of transaction_legs decide, whose building and grouping takes a fifth of a posting's time.
-- A figure of zero has no owner here, so that every owner must be found among the legs.

CREATE OR REPLACE FUNCTION has_plain_legs(
    t transaction, p_platform_id uuid,
    p_book uuid[], p_owner uuid[], p_currency text[], p_kind text[], p_amount bigint[]
) RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_pays boolean := t.from_host_id IS NOT NULL;
    v_receives boolean := t.to_host_id IS NOT NULL;
    v_book uuid := CASE WHEN v_receives THEN t.to_host_id ELSE t.from_host_id END;
    v_cash bigint := CASE WHEN NOT v_pays THEN t.payment_processor_fee - t.gross
                          WHEN NOT v_receives THEN -t.from_host_amount ELSE 0 END;
    v_from uuid := CASE WHEN v_pays AND t.from_collective_amount <> 0 THEN t.from_collective_id END;
    v_platform uuid := CASE WHEN v_receives AND t.platform_fee <> 0 THEN p_platform_id END;
    v_host uuid := CASE WHEN v_receives AND t.host_fee <> 0 THEN v_book END;
    v_to uuid := CASE WHEN v_receives AND t.to_collective_amount <> 0 THEN t.to_collective_id END;
    v_missing int := num_nonnulls(v_from, v_platform, v_host, v_to) + (v_cash <> 0)::int;
BEGIN
    IF (t.currency = t.host_currency AND (NOT v_pays OR t.from_host_currency = t.currency
            AND t.from_collective_currency = t.currency AND coalesce(t.from_host_id = t.to_host_id, true)))
       IS NOT TRUE THEN
        RETURN false;
    END IF;
    FOR i IN 1..cardinality(p_amount) LOOP
        IF (p_book[i] = v_book AND p_currency[i] = t.currency AND p_amount[i] <> 0
            AND (i = 1 OR (p_owner[i], p_kind[i] COLLATE "C") > (p_owner[i-1], p_kind[i-1] COLLATE "C")))
           IS NOT TRUE THEN
            RETURN false;
        ELSIF p_kind[i] = 'BALANCE' THEN
            IF p_amount[i] <> (CASE WHEN p_owner[i] = v_from THEN t.from_collective_amount ELSE 0 END
                               + CASE WHEN p_owner[i] = v_platform THEN t.platform_fee ELSE 0 END
                               + CASE WHEN p_owner[i] = v_host THEN t.host_fee ELSE 0 END
                               + CASE WHEN p_owner[i] = v_to THEN t.to_collective_amount ELSE 0 END) THEN
                RETURN false;
            END IF;
            v_missing := v_missing - CASE WHEN p_owner[i] = v_from THEN 1 ELSE 0 END
                                   - CASE WHEN p_owner[i] = v_platform THEN 1 ELSE 0 END
                                   - CASE WHEN p_owner[i] = v_host THEN 1 ELSE 0 END
                                   - CASE WHEN p_owner[i] = v_to THEN 1 ELSE 0 END;
        ELSIF p_kind[i] = 'CASH' AND p_owner[i] = v_book AND p_amount[i] = v_cash THEN
            v_missing := v_missing - 1;
        ELSE
            RETURN false;
        END IF;
    END LOOP;
    RETURN v_missing = 0;
END $$;

-- Refuses a tip that does not go to the platform, without fees of platform and host, in the currency and the book of
-- the host of a gift: in the gift's group, by the same giver, and once. Its amount is that of the gift's order, at the
-- gift's rate; what one charge brought is split between the two, which may round either by one unit.

CREATE OR REPLACE FUNCTION require_tip_of_gift(t transaction) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM "order" o JOIN transaction g ON g.order_id = o.id AND g.kind = 'DONATION'
        JOIN collective p ON p.is_platform
        WHERE o.id = t.order_id AND g.group_id = t.group_id AND t.to_collective_id = p.id
          AND (g.to_host_id, g.host_currency, g.host_currency, 0, 0)
              = (t.to_host_id, t.host_currency, t.currency, t.platform_fee, t.host_fee)
          AND (g.from_collective_id, g.from_host_id) IS NOT DISTINCT FROM (t.from_collective_id, t.from_host_id)
          AND abs(t.amount - converted(o.tip, g.fx_rate, o.currency, g.host_currency))
              <= (o.currency <> g.host_currency)::int)
       OR EXISTS (SELECT FROM transaction x WHERE x.order_id = t.order_id AND x.kind = 'PLATFORM_TIP') THEN
        RAISE EXCEPTION 'a tip goes to the platform, beside the gift that it comes with'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tip_of_gift';
    END IF;
END $$;

-- Refuses legs that do not follow from the figures, a missing order, and another kind, amount or side than the
-- order's. True if the legs are plain: sorted, each of another account, all of them BALANCE or CASH.
-- ledger_post calls it before it locks anything.

CREATE OR REPLACE FUNCTION require_legs_of_figures(
    t transaction, p_book uuid[], p_owner uuid[], p_currency text[], p_kind text[], p_amount bigint[]
) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_kind text := t.kind;
    v_platform uuid;
    v_order record;
    v_is_plain boolean;
BEGIN
    IF t.refund_of_id IS NOT NULL THEN
        SELECT x.kind INTO v_kind FROM transaction x WHERE x.id = t.refund_of_id;
    END IF;
    IF t.platform_fee <> 0 OR v_kind = 'PLATFORM_FEE_SETTLEMENT' THEN
        SELECT c.id INTO v_platform FROM collective c WHERE c.is_platform;
    END IF;
    v_is_plain := (v_kind NOT IN ('HOURS', 'BONUS', 'SETTLEMENT', 'PLATFORM_FEE_SETTLEMENT')
                   AND has_plain_legs(t, v_platform, p_book, p_owner, p_currency, p_kind, p_amount)) IS TRUE;
    IF NOT v_is_plain THEN
        PERFORM FROM (
            SELECT l.book_id, l.owner_id, l.currency, l.kind, l.amount
            FROM transaction_legs(t, v_kind, v_platform) l
            UNION ALL
            SELECT u.book_id, u.owner_id, u.currency, u.kind, -u.amount
            FROM unnest(p_book, p_owner, p_currency, p_kind, p_amount)
                AS u(book_id, owner_id, currency, kind, amount)
        ) AS difference
        GROUP BY book_id, owner_id, currency, kind HAVING sum(amount) <> 0;
        IF FOUND THEN
            RAISE EXCEPTION 'the legs of a transaction must follow from its figures'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'transaction_legs';
        END IF;
    END IF;
    IF t.order_id IS NULL THEN
        -- Only imported history, which has its own time, and its refunds have tips without an order.
        IF v_kind NOT IN ('MERGE', 'HOST_FEE', 'OPENING_BALANCE', 'HOST_MOVE', 'TAX', 'PLATFORM_TIP')
           OR t.kind = 'PLATFORM_TIP' AND t.at IS NULL THEN
            RAISE EXCEPTION 'a transaction of kind % needs an order', v_kind
                USING ERRCODE = 'check_violation', CONSTRAINT = 'transaction_order';
        END IF;
    ELSIF t.refund_of_id IS NULL THEN
        SELECT o.type, o.import_key, o.currency, coalesce(o.approved_amount, o.amount) AS amount,
               CASE WHEN NOT o.origin_unknown THEN o.from_id END AS from_id, o.to_id
        INTO v_order FROM "order" o WHERE o.id = t.order_id;
        IF v_order.import_key IS NULL AND (CASE WHEN v_order.type = t.kind
            THEN (v_order.currency, v_order.amount, v_order.from_id, v_order.to_id)
                 IS DISTINCT FROM (t.currency, t.amount, t.from_collective_id, t.to_collective_id)
            ELSE (v_order.type, t.kind) NOT IN (('REDEMPTION', 'REDEMPTION_PAYOUT'), ('DONATION', 'PLATFORM_TIP'),
                                                ('SETTLEMENT', 'PLATFORM_FEE_SETTLEMENT'))
                 AND t.kind NOT IN ('PAYMENT_PROCESSOR_COVER', 'DISPUTE_COVER', 'DISPUTE_FEE') END) THEN
            RAISE EXCEPTION 'a transaction moves the amount of its order between its sides'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'transaction_order';
        END IF;
        -- A settlement's are those of its order, and imported ones those of their file.
        IF v_order.import_key IS NULL AND t.kind NOT IN ('SETTLEMENT', 'PLATFORM_FEE_SETTLEMENT') THEN
            PERFORM require_figures_of_amount(t);
        END IF;
        IF v_order.import_key IS NULL AND t.kind = 'PLATFORM_TIP' THEN
            PERFORM require_tip_of_gift(t);
        END IF;
    END IF;
    RETURN v_is_plain;
END $$;

REVOKE ALL ON FUNCTION transaction_legs(transaction, text, uuid), converted(bigint, numeric, text, text),
    require_figures_of_amount(transaction), require_tip_of_gift(transaction),
    has_plain_legs(transaction, uuid, uuid[], uuid[], text[], text[], bigint[]),
    require_legs_of_figures(transaction, uuid[], uuid[], text[], text[], bigint[])
    FROM PUBLIC, commonweal_app;
-- The audit compares postings with figures, and figures with rates.
GRANT EXECUTE ON FUNCTION transaction_legs(transaction, text, uuid), converted(bigint, numeric, text, text)
    TO commonweal_app;
