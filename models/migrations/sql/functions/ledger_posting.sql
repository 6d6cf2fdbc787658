-- Writing to the ledger.
--
-- ledger_post is the only writer of transactions and postings, and the only one that moves balances. The
-- application's role may execute the functions of this file; it cannot write the ledger's tables itself.

-- Opens an account if it is not open yet: a balance cannot fall below zero, clearing not below what the book's
-- host allows its counterpart to owe. What a host keeps for the platform has no bound: a gift can be refunded after
-- its fee and tip were settled, and the platform then owes the host.

CREATE OR REPLACE FUNCTION open_account(p_book_id uuid, p_owner_id uuid, p_currency text, p_kind text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_limit bigint;
BEGIN
    IF p_kind = 'CLEARING' THEN
        SELECT p.platform_clearing_limit * 10 ^ u.exponent INTO v_limit
        FROM collective owner, collective book, currency u, platform_policy p
        WHERE owner.id = p_owner_id AND owner.is_platform AND book.id = p_book_id
          AND book.currency = p_currency AND u.code = p_currency AND p.valid_from <= now()
        ORDER BY p.valid_from DESC, p.id DESC LIMIT 1;
        v_limit := coalesce(v_limit, 0);
    END IF;
    INSERT INTO ledger_account (book_id, owner_id, currency, kind, floor, credit_limit)
    VALUES (p_book_id, p_owner_id, p_currency, p_kind,
            CASE p_kind WHEN 'BALANCE' THEN
                    CASE WHEN p_owner_id = p_book_id OR NOT EXISTS (
                        SELECT FROM collective c WHERE c.id = p_owner_id AND c.is_platform) THEN 0 END
                WHEN 'CLEARING' THEN -v_limit END, v_limit)
    ON CONFLICT (book_id, owner_id, currency, kind) DO NOTHING;
END $$;

-- The floor of an account that is posted to. What a counterpart owes may be more than its limit if that was lowered:
-- the floor of a CLEARING account, which alone has a limit, follows every payment up to it.
-- In plain SQL, so that it becomes part of the statement that asks.

CREATE OR REPLACE FUNCTION clearing_floor(p_floor bigint, p_limit bigint, p_posted bigint, p_amount bigint)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_limit IS NULL OR p_amount < 0 THEN p_floor ELSE least(-p_limit, p_posted + p_amount) END
$$;

-- Posts a transaction -----------------------------------------------------------------------------------
-- p_transaction: the row, without `xid` and `created_at`, and without `at` unless it is imported history.
-- The five arrays are the legs: account keys, and amounts in minor units, credit positive. They are sorted by
-- account key, so that no two calls can deadlock. Missing accounts are opened.
-- p_release_order_id: releases that order's hold at the same time.
-- Locks: the accounts of all legs, in key order (FOR NO KEY UPDATE). The time of the postings is read after
-- that, so that it follows seq; the transaction is written last, with the time of its postings, so that a
-- balance as of that time contains it. The last account is locked by its own update. The first call in a database
-- transaction queues for that account by an advisory lock. Later calls, and calls after a hold or a lock, do
-- not: their transaction may already hold a row that someone in the queue waits for. The setting
-- commonweal.posting tells the two apart.
-- A transaction with its own `at` is imported history. Its time is that one, or the time of the last posting of
-- its sides' balances if that is later; each of its postings has that time, or the time of its account's last
-- posting if that is later.
-- An account whose last posting is more than a minute ahead of the clock takes no posting: the clock jumped.
-- The legs must be those that follow from the figures (transaction_legs), and the figures those of the order.
-- Returns the time of the postings.

CREATE OR REPLACE FUNCTION ledger_post(
    p_transaction transaction,
    p_book uuid[], p_owner uuid[], p_currency text[], p_kind text[], p_amount bigint[],
    p_release_order_id uuid DEFAULT NULL
) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_legs int := coalesce(cardinality(p_amount), 0);
    v_own_time timestamptz := p_transaction.at;
    v_is_plain boolean; v_last_at_once boolean;
    v_account bigint[]; v_seq bigint[]; v_balance bigint[]; v_at timestamptz[];
    v_id bigint; v_number bigint; v_posted bigint; v_last timestamptz;
    v_now timestamptz := clock_timestamp();
    v_is_first boolean := coalesce(current_setting('commonweal.posting', true), '') = '';
    v_time timestamptz := p_transaction.at;
    v_setting text;  -- an assignment computes what PERFORM would run as a query of its own
BEGIN
    -- PL/pgSQL prepares a whole condition before it computes any of it, once a transaction: what only rare postings
    -- ask stands in conditions within conditions.
    IF v_legs = 0 THEN
        RAISE EXCEPTION 'a transaction needs postings'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'transaction_has_postings';
    END IF;
    IF v_own_time > v_now THEN
        RAISE EXCEPTION 'the ledger time is in the future'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_time_in_future';
    END IF;
    p_transaction.created_at := v_now;
    p_transaction.xid := txid_current();
    -- Whatever the caller says: a gift is incognito because its order is. So are its tip and its refunds, which have
    -- the giver on the paying side, too.
    p_transaction.is_incognito := false;
    IF p_transaction.refund_of_id IS NOT NULL THEN
        p_transaction.is_incognito := coalesce(
            (SELECT t.is_incognito FROM transaction t WHERE t.id = p_transaction.refund_of_id), false);
    ELSIF p_transaction.kind IN ('DONATION', 'PLATFORM_TIP') THEN
        p_transaction.is_incognito := coalesce(
            (SELECT o.is_incognito FROM "order" o WHERE o.id = p_transaction.order_id), false);
    END IF;
    -- Before any lock, so that a busy account is not locked meanwhile.
    v_is_plain := require_legs_of_figures(p_transaction, p_book, p_owner, p_currency, p_kind, p_amount);
    -- The last account is locked by its own update, unless history is imported, a hold must be released first,
    -- issuance must be checked after all locks, or the last two legs share an account, locked already.
    v_last_at_once := v_own_time IS NULL AND p_release_order_id IS NULL;
    IF NOT v_is_plain THEN
        FOR i IN 2..v_legs LOOP
            IF (p_book[i], p_owner[i], p_currency[i] COLLATE "C", p_kind[i] COLLATE "C")
               < (p_book[i-1], p_owner[i-1], p_currency[i-1] COLLATE "C", p_kind[i-1] COLLATE "C") THEN
                RAISE EXCEPTION 'legs must be sorted by account'
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_leg_order';
            END IF;
        END LOOP;
        v_last_at_once := v_last_at_once AND p_kind[v_legs] <> 'ISSUANCE'
            AND (p_book[v_legs], p_owner[v_legs], p_currency[v_legs], p_kind[v_legs])
                IS DISTINCT FROM
                (p_book[v_legs - 1], p_owner[v_legs - 1], p_currency[v_legs - 1], p_kind[v_legs - 1]);
    END IF;
    INSERT INTO live_event (xid, kind, node_id, collective_ids)
    VALUES (p_transaction.xid, 'TRANSACTION', p_transaction.id,
            ARRAY[p_transaction.from_collective_id, p_transaction.to_collective_id] || p_owner);

    FOR i IN 1..v_legs LOOP
        LOOP
            IF i < v_legs OR NOT v_last_at_once THEN
                SELECT a.id, a.last_at INTO v_id, v_last FROM ledger_account a
                WHERE a.book_id = p_book[i] AND a.owner_id = p_owner[i]
                  AND a.currency = p_currency[i] AND a.kind = p_kind[i]
                FOR NO KEY UPDATE;
                IF FOUND THEN
                    v_now := greatest(v_now, v_last + interval '1 microsecond');
                    EXIT;
                END IF;
            ELSE
                IF v_is_first THEN
                    -- Each commit wakes everyone who waits for a row; an advisory lock wakes one.
                    v_setting := pg_advisory_xact_lock(uuid_hash_extended(p_owner[i], 0));
                END IF;
                UPDATE ledger_account a SET posted = a.posted + p_amount[i], seq = a.seq + 1,
                    floor = clearing_floor(a.floor, a.credit_limit, a.posted, p_amount[i]),
                    last_at = greatest(clock_timestamp(), v_now, a.last_at + interval '1 microsecond')
                WHERE a.book_id = p_book[i] AND a.owner_id = p_owner[i]
                  AND a.currency = p_currency[i] AND a.kind = p_kind[i]
                RETURNING a.id, a.last_at, a.posted, a.seq INTO v_id, v_last, v_posted, v_number;
                IF FOUND THEN
                    v_now := v_last;
                    v_balance[i] := v_posted; v_seq[i] := v_number;
                    EXIT;
                END IF;
            END IF;
            PERFORM open_account(p_book[i], p_owner[i], p_currency[i], p_kind[i]);
        END LOOP;
        v_account[i] := v_id;
        IF v_own_time IS NOT NULL THEN
            v_at[i] := v_last;
            -- The host's own balance changes with the history of every collective: its time says nothing of one.
            IF p_kind[i] = 'BALANCE' AND p_owner[i] <> p_book[i]
               AND p_owner[i] IN (p_transaction.from_collective_id, p_transaction.to_collective_id) THEN
                v_time := greatest(v_time, v_last);
            END IF;
        END IF;
    END LOOP;
    -- No account is further ahead of the clock than what was found for all of them.
    IF v_now > clock_timestamp() + interval '1 minute' THEN
        RAISE EXCEPTION 'the last posting of an account is ahead of the clock'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_clock_behind';
    END IF;
    IF NOT v_last_at_once THEN
        v_now := greatest(clock_timestamp(), v_now);
        IF p_release_order_id IS NOT NULL THEN
            PERFORM ledger_release(p_release_order_id);
        END IF;
    END IF;
    v_last := v_now;
    FOR i IN 1..v_legs LOOP
        IF v_seq[i] IS NULL THEN
            IF v_own_time IS NOT NULL THEN
                v_at[i] := greatest(v_time, v_at[i]);
                v_last := v_at[i];
            END IF;
            UPDATE ledger_account a SET posted = a.posted + p_amount[i], seq = a.seq + 1, last_at = v_last,
                floor = clearing_floor(a.floor, a.credit_limit, a.posted, p_amount[i])
            WHERE a.book_id = p_book[i] AND a.id = v_account[i]
            RETURNING a.posted, a.seq INTO v_posted, v_number;
            v_balance[i] := v_posted; v_seq[i] := v_number;
        END IF;
        IF NOT v_is_plain THEN
            IF p_kind[i] = 'ISSUANCE' AND p_amount[i] < 0 THEN
                PERFORM issuance_guard(p_book[i], v_account[i], p_owner[i], v_balance[i], v_now);
            END IF;
            -- The last way to be owed by a host is a payment: nobody settles more than is owed.
            IF (p_transaction.kind, p_kind[i]) IN (('SETTLEMENT', 'CLEARING'), ('PLATFORM_FEE_SETTLEMENT', 'BALANCE'))
               AND p_amount[i] < 0 AND v_balance[i] < 0 THEN
                RAISE EXCEPTION 'a settlement pays at most what is owed'
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'settlement_exceeds_debt';
            END IF;
        END IF;
    END LOOP;
    p_transaction.at := coalesce(v_time, v_now);
    INSERT INTO transaction VALUES (p_transaction.*);
    v_setting := set_config('commonweal.posting', p_transaction.id::text, true);
    -- A set in a select list is made row by row; one in FROM would be stored first.
    INSERT INTO posting (book_id, account_id, seq, transaction_id, currency, amount, balance_after, at)
    SELECT p_book[n.i], v_account[n.i], v_seq[n.i], p_transaction.id, p_currency[n.i], p_amount[n.i], v_balance[n.i],
           coalesce(v_at[n.i], v_now)
    FROM (SELECT generate_series(1, v_legs) AS i OFFSET 0) AS n;
    v_setting := set_config('commonweal.posting', 'touched', true);
    RETURN v_now;
END $$;

-- Reserves part of a balance for an order; an order never has a second hold on the same balance.
-- Locks: the account. Raises the check "floor" if posted - held would fall below it.

CREATE OR REPLACE FUNCTION ledger_hold(
    p_order_id uuid, p_book_id uuid, p_owner_id uuid, p_currency text, p_amount bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_account bigint;
BEGIN
    PERFORM set_config('commonweal.posting', 'touched', true);
    PERFORM open_account(p_book_id, p_owner_id, p_currency, 'BALANCE');
    UPDATE ledger_account a SET held = a.held + p_amount
    WHERE a.book_id = p_book_id AND a.owner_id = p_owner_id AND a.currency = p_currency AND a.kind = 'BALANCE'
    RETURNING a.id INTO v_account;
    INSERT INTO hold (order_id, book_id, account_id, amount)
    VALUES (p_order_id, p_book_id, v_account, p_amount);
END $$;

-- Releases an order's open holds, if it has any: a disputed payment may have two. Locks: each hold, then its account.

CREATE OR REPLACE FUNCTION ledger_release(p_order_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_hold hold;
BEGIN
    PERFORM set_config('commonweal.posting', 'touched', true);
    FOR v_hold IN UPDATE hold h SET released_at = clock_timestamp()
                  WHERE h.order_id = p_order_id AND h.released_at IS NULL RETURNING h.* LOOP
        UPDATE ledger_account a SET held = a.held - v_hold.amount
        WHERE a.book_id = v_hold.book_id AND a.id = v_hold.account_id;
    END LOOP;
END $$;

-- Locks the accounts of several calls that follow in the same database transaction, in key order. Accounts
-- that do not exist yet are left to the call that opens them.

CREATE OR REPLACE FUNCTION ledger_lock(p_book uuid[], p_owner uuid[], p_currency text[], p_kind text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM set_config('commonweal.posting', 'touched', true);
    PERFORM FROM ledger_account a WHERE (a.book_id, a.owner_id, a.currency, a.kind) IN (
        SELECT * FROM unnest(p_book, p_owner, p_currency, p_kind))
    ORDER BY a.book_id, a.owner_id, a.currency COLLATE "C", a.kind COLLATE "C" FOR NO KEY UPDATE;
END $$;

-- Opens an account without a posting, so that a newly hosted collective shows a balance of zero.

CREATE OR REPLACE FUNCTION ledger_open(p_book_id uuid, p_owner_id uuid, p_currency text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT open_account(p_book_id, p_owner_id, p_currency, 'BALANCE');
$$;

-- Sets how much a host allows its counterpart to owe it in one currency, in minor units. A limit below what is
-- owed lets what is owed stand, and nothing more.
-- Locks: the account.

CREATE OR REPLACE FUNCTION ledger_set_clearing_limit(
    p_host_id uuid, p_counterpart_id uuid, p_currency text, p_limit bigint
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF p_limit < 0 OR p_host_id = p_counterpart_id THEN
        RAISE EXCEPTION 'a clearing limit is zero or more, and between two hosts'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'clearing_limit_valid';
    END IF;
    PERFORM open_account(p_host_id, p_counterpart_id, p_currency, 'CLEARING');
    UPDATE ledger_account a SET credit_limit = p_limit, floor = least(-p_limit, a.posted)
    WHERE a.book_id = p_host_id AND a.owner_id = p_counterpart_id AND a.currency = p_currency AND a.kind = 'CLEARING';
END $$;

REVOKE ALL ON FUNCTION clearing_floor(bigint, bigint, bigint, bigint),
    ledger_post(transaction, uuid[], uuid[], text[], text[], bigint[], uuid),
    ledger_hold(uuid, uuid, uuid, text, bigint), ledger_release(uuid), ledger_open(uuid, uuid, text),
    ledger_lock(uuid[], uuid[], text[], text[]), open_account(uuid, uuid, text, text),
    ledger_set_clearing_limit(uuid, uuid, text, bigint)
    FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION ledger_post(transaction, uuid[], uuid[], text[], text[], bigint[], uuid),
    ledger_hold(uuid, uuid, uuid, text, bigint), ledger_release(uuid), ledger_open(uuid, uuid, text),
    ledger_lock(uuid[], uuid[], text[], text[]), ledger_set_clearing_limit(uuid, uuid, text, bigint)
    TO commonweal_app;
