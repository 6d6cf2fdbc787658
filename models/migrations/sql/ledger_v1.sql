-- The ledger: what the database itself guarantees about money and time.
--
-- One function, ledger_post, writes transactions and postings and moves balances. The application's role may
-- execute it and may write none of these tables itself. The triggers hold against everybody, the owner of
-- the tables and sessions of replication included (ENABLE ALWAYS).

-- Append-only tables -------------------------------------------------------------------------------------

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% refused: % keeps what was written', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'append_only', TABLE = TG_TABLE_NAME;
END $$;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['transaction', 'posting', 'order_action', 'fx_rate', 'platform_policy', 'idempotency'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', t);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['collective', 'order', 'ledger_account', 'hold', 'refund_total', 'currency'] LOOP
        EXECUTE format('CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', t);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER never_deleted', t);
    END LOOP;
END $$;

-- What an account is never changes, and is of a known kind -----------------------------------------------

CREATE FUNCTION ledger_account_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION 'an account keeps its book, owner, currency and kind'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'append_only';
    END IF;
    IF NEW.kind NOT IN ('BALANCE', 'CASH', 'ISSUANCE', 'EXCHANGE') THEN
        RAISE EXCEPTION 'there is no such kind of account'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_ledger_account_kind_known';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER ledger_account_guard BEFORE INSERT OR UPDATE OF book_id, id, owner_id, currency, kind
ON ledger_account FOR EACH ROW EXECUTE FUNCTION ledger_account_guard();
ALTER TABLE ledger_account ENABLE ALWAYS TRIGGER ledger_account_guard;

-- Guard of every posting ---------------------------------------------------------------------------------
-- Fires once a statement, over all rows it added: each statement is balanced in itself, per transaction,
-- book and currency; each row has its account's currency and continues its account (seq, running balance,
-- time); nothing joins a transaction that an earlier database transaction wrote. A loop of single look-ups:
-- measured at half the cost of one joined query, whose set-up is most of it for two rows.
-- What ledger_post has just read and computed under its locks is not read again: it says so by the setting
-- commonweal.posting. That opens no way round: a role that may not insert gains nothing by the setting, and
-- whoever owns the tables is not kept out by a trigger, only kept from mistakes.

CREATE FUNCTION posting_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    v_checked boolean := coalesce(current_setting('commonweal.posting', true) = 'checked', false);
    p record; v_transaction uuid; v_book uuid; v_currency text; v_sum bigint := 0; v_xid bigint;
    v_account_currency text; v_posted bigint; v_seq bigint; v_before bigint; v_at timestamptz;
BEGIN
    FOR p IN SELECT transaction_id, book_id, account_id, seq, currency, amount, balance_after, at
             FROM added ORDER BY transaction_id, book_id, currency LOOP
        IF v_transaction IS DISTINCT FROM p.transaction_id OR v_book <> p.book_id OR v_currency <> p.currency THEN
            EXIT WHEN v_sum <> 0;
            IF NOT v_checked AND v_transaction IS DISTINCT FROM p.transaction_id THEN
                SELECT t.xid INTO v_xid FROM public.transaction t WHERE t.id = p.transaction_id;
                IF v_xid IS DISTINCT FROM pg_current_xact_id()::text::bigint THEN
                    RAISE EXCEPTION 'postings may be added only while their transaction is being written'
                        USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_of_new_transaction';
                END IF;
            END IF;
            v_transaction := p.transaction_id; v_book := p.book_id; v_currency := p.currency;
        END IF;
        v_sum := v_sum + p.amount;
        CONTINUE WHEN v_checked;

        SELECT a.currency, a.posted, a.seq INTO v_account_currency, v_posted, v_seq
        FROM public.ledger_account a WHERE a.book_id = p.book_id AND a.id = p.account_id;
        IF v_account_currency IS DISTINCT FROM p.currency THEN
            RAISE EXCEPTION 'a posting has the currency of its account'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_currency';
        END IF;
        v_before := 0; v_at := NULL;
        IF p.seq > 1 THEN
            -- Compared as rows, so that only the primary key can serve: by its statistics the planner may take
            -- the index on time, too, which reads the whole history of a busy account.
            -- Where that one is missing, what comes before it is found: no balance at all.
            SELECT CASE WHEN (q.book_id, q.account_id, q.seq) = (p.book_id, p.account_id, p.seq - 1)
                   THEN q.balance_after END, q.at
            INTO v_before, v_at FROM public.posting q
            WHERE (q.book_id, q.account_id, q.seq) <= (p.book_id, p.account_id, p.seq - 1)
            ORDER BY q.book_id DESC, q.account_id DESC, q.seq DESC LIMIT 1;
        END IF;
        IF p.seq < 1 OR p.seq > v_seq OR (p.seq = v_seq AND p.balance_after <> v_posted)
           OR v_before + p.amount IS DISTINCT FROM p.balance_after OR v_at > p.at THEN
            RAISE EXCEPTION 'a posting continues its account: seq, running balance and time'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_continues_account';
        END IF;
    END LOOP;
    IF v_sum <> 0 THEN
        RAISE EXCEPTION 'postings sum to zero per transaction, book and currency'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_balanced';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER posting_guard AFTER INSERT ON posting REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION posting_guard();
ALTER TABLE posting ENABLE ALWAYS TRIGGER posting_guard;

-- Guard of every transaction -----------------------------------------------------------------------------
-- Its figures fit one another, and refunds never exceed the original. In a trigger, whose expressions are
-- prepared once a session: CHECK constraints are parsed anew with each statement.

CREATE FUNCTION transaction_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_wrong text;
BEGIN
    IF NEW.kind NOT IN ('DONATION', 'ADDED_FUNDS', 'EXPENSE', 'TRANSFER', 'HOURS', 'REDEMPTION',
                        'REDEMPTION_PAYOUT', 'CASH_OUT', 'BONUS', 'MERGE', 'HOST_FEE', 'PAYMENT_PROCESSOR_COVER',
                        'REFUND') THEN
        v_wrong := 'kind_known';
    ELSIF (NEW.refund_of_id IS NOT NULL) <> (NEW.kind = 'REFUND') THEN
        v_wrong := 'refund_kind';
    ELSIF NEW.fx_rate <= 0 THEN
        v_wrong := 'fx_rate_positive';
    ELSIF NEW.to_host_amount <> NEW.gross - NEW.payment_processor_fee - NEW.platform_fee THEN
        v_wrong := 'to_host_amount';
    ELSIF NEW.currency = NEW.host_currency AND NEW.to_collective_amount <> NEW.to_host_amount - NEW.host_fee THEN
        v_wrong := 'to_collective_amount';
    ELSIF NEW.refund_of_id IS NULL
        AND (NEW.amount <= 0 OR NEW.payment_processor_fee < 0 OR NEW.platform_fee < 0 OR NEW.host_fee < 0
             OR NEW.to_collective_amount < 0)
        OR NEW.refund_of_id IS NOT NULL
        AND (NEW.amount >= 0 OR NEW.payment_processor_fee > 0 OR NEW.platform_fee > 0 OR NEW.host_fee > 0
             OR NEW.to_collective_amount > 0) THEN
        v_wrong := 'signs';
    END IF;
    IF v_wrong IS NOT NULL THEN
        RAISE EXCEPTION 'the figures of a transaction do not fit one another: %', v_wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_transaction_' || v_wrong;
    END IF;
    IF NEW.refund_of_id IS NOT NULL THEN
        PERFORM count_refund(NEW);
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION count_refund(p_refund transaction) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO refund_total (transaction_id, amount, refunded)
    SELECT t.id, t.amount, -p_refund.amount FROM transaction t
    WHERE t.id = p_refund.refund_of_id AND t.refund_of_id IS NULL AND t.currency = p_refund.currency
      AND t.order_id IS NOT DISTINCT FROM p_refund.order_id
    ON CONFLICT (transaction_id) DO UPDATE SET refunded = refund_total.refunded + excluded.refunded;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a refund needs an original of the same order and currency that is no refund itself'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refund_of_original';
    END IF;
END $$;

CREATE TRIGGER transaction_guard BEFORE INSERT ON transaction
FOR EACH ROW EXECUTE FUNCTION transaction_guard();
ALTER TABLE transaction ENABLE ALWAYS TRIGGER transaction_guard;

-- The states of an order ---------------------------------------------------------------------------------

CREATE FUNCTION order_status_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (OLD.status, NEW.status) IN (
        ('PENDING', 'APPROVED'), ('PENDING', 'REJECTED'), ('PENDING', 'PAID'), ('PENDING', 'CANCELLED'),
        ('PENDING', 'EXPIRED'), ('PENDING', 'FAILED'), ('APPROVED', 'PAID'), ('APPROVED', 'REJECTED'),
        ('APPROVED', 'CANCELLED'), ('APPROVED', 'FAILED'), ('PAID', 'REFUNDED')) THEN
        RAISE EXCEPTION 'an order does not go from % to %', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'order_status_transition';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER order_status_guard BEFORE UPDATE ON "order"
FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION order_status_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER order_status_guard;

-- No order with an archived side, or with an event: events hold members, not money. The lock makes archiving
-- and a new order wait for each other.

CREATE FUNCTION order_sides_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE side record;
BEGIN
    -- A condition in the statement would be tested before the wait for the lock: it stands in the loop.
    FOR side IN SELECT c.archived_at, c.type FROM collective c WHERE c.id IN (NEW.from_id, NEW.to_id)
                ORDER BY c.id FOR SHARE LOOP
        IF (side.archived_at IS NOT NULL OR side.type = 'EVENT') AND NEW.import_key IS NULL THEN
            RAISE EXCEPTION 'an order needs two sides that are open and can hold money'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_sides_open';
        END IF;
    END LOOP;
    RETURN NEW;
END $$;

CREATE TRIGGER order_sides_guard BEFORE INSERT ON "order"
FOR EACH ROW EXECUTE FUNCTION order_sides_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER order_sides_guard;

-- The one writer -----------------------------------------------------------------------------------------
-- p_transaction: the row, without `xid` and `created_at`; without `at`, too, but for imported history.
-- The five arrays are the legs: account keys, and amounts in minor units, credit positive; ordered by
-- account key (a deadlock is then impossible between any two calls). Missing accounts are opened.
-- p_release_order_id: frees that order's hold in the same moment.
-- Locks: the accounts of all legs, in key order (FOR NO KEY UPDATE). The postings' time is read after that, so
-- that it follows seq. The transaction itself is written before: a busy account is locked for as short as can
-- be, the last one by its own update. The first call of a database transaction queues for that one by an
-- advisory lock; later calls, and those after a hold or a lock, do not, for then the row may be held already by
-- who waits for the queue (the setting commonweal.posting tells). A transaction that brings its own `at` is imported history: each of its
-- postings has that time, or the time of its account's last posting where that is later.
-- Returns the postings' time.

CREATE FUNCTION ledger_post(
    p_transaction transaction, p_book uuid[], p_owner uuid[], p_currency text[], p_kind text[], p_amount bigint[],
    p_release_order_id uuid DEFAULT NULL
) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_legs int := coalesce(cardinality(p_amount), 0);
    v_own_time timestamptz := p_transaction.at;
    -- A hold is freed under the locks and before its account is debited, issuance is checked after them, and an
    -- account of two legs is held already when its queue is joined: that rules out the short way.
    v_last_at_once boolean := p_transaction.at IS NULL AND p_release_order_id IS NULL
        AND p_kind[v_legs] <> 'ISSUANCE'
        AND (p_book[v_legs], p_owner[v_legs], p_currency[v_legs], p_kind[v_legs])
            IS DISTINCT FROM (p_book[v_legs - 1], p_owner[v_legs - 1], p_currency[v_legs - 1], p_kind[v_legs - 1]);
    v_account bigint[]; v_seq bigint[]; v_balance bigint[]; v_at timestamptz[];
    v_id bigint; v_number bigint; v_posted bigint; v_last timestamptz;
    v_now timestamptz := clock_timestamp();
    v_is_first boolean := coalesce(current_setting('commonweal.posting', true), '') = '';
BEGIN
    IF v_legs = 0 THEN
        RAISE EXCEPTION 'a transaction has postings'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'transaction_has_postings';
    END IF;
    IF v_own_time > v_now THEN
        RAISE EXCEPTION 'ledger time in the future'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_time_in_future';
    END IF;
    p_transaction.at := coalesce(v_own_time, v_now);
    p_transaction.created_at := v_now;
    p_transaction.xid := pg_current_xact_id()::text::bigint;
    INSERT INTO transaction VALUES (p_transaction.*);
    -- Before any lock: a busy account is not held for it.
    INSERT INTO live_event (xid, kind, node_id, collective_ids)
    VALUES (p_transaction.xid, 'TRANSACTION', p_transaction.id,
            ARRAY[p_transaction.from_collective_id, p_transaction.to_collective_id] || p_owner);

    FOR i IN 1..v_legs LOOP
        IF i > 1 AND (p_book[i], p_owner[i], p_currency[i] COLLATE "C", p_kind[i] COLLATE "C")
                   < (p_book[i-1], p_owner[i-1], p_currency[i-1] COLLATE "C", p_kind[i-1] COLLATE "C") THEN
            RAISE EXCEPTION 'legs must come in the order of their accounts'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_leg_order';
        END IF;
        LOOP
            IF i < v_legs OR NOT v_last_at_once THEN
                SELECT a.id, a.last_at INTO v_id, v_last FROM ledger_account a
                WHERE a.book_id = p_book[i] AND a.owner_id = p_owner[i] AND a.currency = p_currency[i] AND a.kind = p_kind[i]
                FOR NO KEY UPDATE;
            ELSE
                IF v_is_first THEN
                    -- A queue of its own: those who wait for a row are all woken by each commit.
                    PERFORM pg_advisory_xact_lock(uuid_hash_extended(p_owner[i], 0));
                END IF;
                UPDATE ledger_account a SET posted = a.posted + p_amount[i], seq = a.seq + 1,
                    last_at = greatest(clock_timestamp(), v_now, a.last_at + interval '1 microsecond')
                WHERE a.book_id = p_book[i] AND a.owner_id = p_owner[i] AND a.currency = p_currency[i] AND a.kind = p_kind[i]
                RETURNING a.id, a.last_at, a.posted, a.seq INTO v_id, v_last, v_posted, v_number;
                v_balance[i] := v_posted; v_seq[i] := v_number;
            END IF;
            EXIT WHEN FOUND;
            INSERT INTO ledger_account (book_id, owner_id, currency, kind, floor)
            VALUES (p_book[i], p_owner[i], p_currency[i], p_kind[i], CASE p_kind[i] WHEN 'BALANCE' THEN 0 END)
            ON CONFLICT (book_id, owner_id, currency, kind) DO NOTHING;
        END LOOP;
        v_account[i] := v_id; v_at[i] := v_last;
        v_now := greatest(v_now, v_last + CASE WHEN v_seq[i] IS NULL THEN interval '1 microsecond' ELSE interval '0' END);
    END LOOP;
    IF NOT v_last_at_once THEN
        v_now := greatest(clock_timestamp(), v_now);
    END IF;
    IF p_release_order_id IS NOT NULL THEN
        PERFORM ledger_release(p_release_order_id);
    END IF;
    FOR i IN 1..v_legs LOOP
        v_at[i] := CASE WHEN v_own_time IS NULL THEN v_now ELSE greatest(v_own_time, v_at[i]) END;
        CONTINUE WHEN v_seq[i] IS NOT NULL;
        UPDATE ledger_account a SET posted = a.posted + p_amount[i], seq = a.seq + 1, last_at = v_at[i]
        WHERE a.book_id = p_book[i] AND a.id = v_account[i]
        RETURNING a.posted, a.seq INTO v_posted, v_number;
        v_balance[i] := v_posted; v_seq[i] := v_number;
        IF p_kind[i] = 'ISSUANCE' AND p_amount[i] < 0 THEN
            PERFORM issuance_guard(p_book[i], v_account[i], p_owner[i], v_posted, v_now);
        END IF;
    END LOOP;
    PERFORM set_config('commonweal.posting', 'checked', true);
    INSERT INTO posting (book_id, account_id, seq, transaction_id, currency, amount, balance_after, at)
    SELECT u.book_id, u.account_id, u.seq, p_transaction.id, u.currency, u.amount, u.balance_after, u.at
    FROM unnest(p_book, v_account, v_seq, p_currency, p_amount, v_balance, v_at)
         AS u(book_id, account_id, seq, currency, amount, balance_after, at);
    PERFORM set_config('commonweal.posting', 'touched', true);
    RETURN v_now;
END $$;

-- Sets part of a balance aside for an order. One hold an order, ever.
-- Locks: the account. Raises the check "floor" where posted - held would fall below it.

CREATE FUNCTION ledger_hold(p_order_id uuid, p_book_id uuid, p_owner_id uuid, p_currency text, p_amount bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_account bigint;
BEGIN
    PERFORM set_config('commonweal.posting', 'touched', true);
    INSERT INTO ledger_account (book_id, owner_id, currency, kind, floor)
    VALUES (p_book_id, p_owner_id, p_currency, 'BALANCE', 0)
    ON CONFLICT (book_id, owner_id, currency, kind) DO NOTHING;
    UPDATE ledger_account a SET held = a.held + p_amount
    WHERE a.book_id = p_book_id AND a.owner_id = p_owner_id AND a.currency = p_currency AND a.kind = 'BALANCE'
    RETURNING a.id INTO v_account;
    INSERT INTO hold (order_id, book_id, account_id, amount) VALUES (p_order_id, p_book_id, v_account, p_amount);
END $$;

-- Frees an order's hold; nothing where it has none open. Locks: the hold, then its account.

CREATE FUNCTION ledger_release(p_order_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_hold hold;
BEGIN
    PERFORM set_config('commonweal.posting', 'touched', true);
    UPDATE hold h SET released_at = clock_timestamp()
    WHERE h.order_id = p_order_id AND h.released_at IS NULL RETURNING h.* INTO v_hold;
    IF FOUND THEN
        UPDATE ledger_account a SET held = a.held - v_hold.amount
        WHERE a.book_id = v_hold.book_id AND a.id = v_hold.account_id;
    END IF;
END $$;

-- Locks the accounts of several calls that follow in one database transaction, in key order; those that
-- do not exist yet are left to the call that opens them.

CREATE FUNCTION ledger_lock(p_book uuid[], p_owner uuid[], p_currency text[], p_kind text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM set_config('commonweal.posting', 'touched', true);
    PERFORM FROM ledger_account a WHERE (a.book_id, a.owner_id, a.currency, a.kind) IN (
        SELECT * FROM unnest(p_book, p_owner, p_currency, p_kind))
    ORDER BY a.book_id, a.owner_id, a.currency COLLATE "C", a.kind COLLATE "C" FOR NO KEY UPDATE;
END $$;

-- Opens an account without a posting: a newly hosted collective shows a balance of zero.

CREATE FUNCTION ledger_open(p_book_id uuid, p_owner_id uuid, p_currency text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    INSERT INTO ledger_account (book_id, owner_id, currency, kind, floor)
    VALUES (p_book_id, p_owner_id, p_currency, 'BALANCE', 0)
    ON CONFLICT (book_id, owner_id, currency, kind) DO NOTHING;
$$;

-- Rights -------------------------------------------------------------------------------------------------

DO $$
BEGIN
    CREATE ROLE commonweal_app LOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; -- another database of this server has it
END $$;
DO $$
BEGIN
    EXECUTE format('GRANT commonweal_app TO %I', current_user);
EXCEPTION WHEN OTHERS THEN NULL; -- a superuser needs no grant, and a second migration at once may race
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO commonweal_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO commonweal_app;
GRANT INSERT ON collective, slug_redirect, member, invitation, host_application, credential, email_token, token,
    throttle, payment_method, payout_method, "order", order_item, order_action, idempotency, outbox, fx_rate,
    platform_policy TO commonweal_app;
GRANT UPDATE ON collective, slug_redirect, credential, email_token, throttle, invitation, host_application,
    outbox TO commonweal_app;
GRANT UPDATE (until) ON member TO commonweal_app;
GRANT UPDATE (revoked_at) ON token TO commonweal_app;
GRANT UPDATE (archived_at) ON payment_method, payout_method TO commonweal_app;
-- What an order is never changes; where it stands does.
GRANT UPDATE (status, approved_amount, updated_at, expires_at) ON "order" TO commonweal_app;
GRANT EXECUTE ON FUNCTION ledger_post(transaction, uuid[], uuid[], text[], text[], bigint[], uuid),
    ledger_hold(uuid, uuid, uuid, text, bigint), ledger_release(uuid), ledger_open(uuid, uuid, text),
    ledger_lock(uuid[], uuid[], text[], text[])
    TO commonweal_app;
