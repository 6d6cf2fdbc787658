-- Guards of the ledger's tables. They hold for every writer, including the owner of the tables.

-- Accounts ----------------------------------------------------------------------------------------------
-- An account's identity never changes, and its kind is a known one.

CREATE OR REPLACE FUNCTION ledger_account_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION 'an account keeps its book, owner, currency and kind'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'append_only';
    END IF;
    IF NEW.kind NOT IN ('BALANCE', 'CASH', 'ISSUANCE', 'EXCHANGE', 'CLEARING') THEN
        RAISE EXCEPTION 'unknown kind of account'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_ledger_account_kind_known';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER ledger_account_guard BEFORE INSERT OR UPDATE OF book_id, id, owner_id, currency, kind
ON ledger_account FOR EACH ROW EXECUTE FUNCTION ledger_account_guard();
ALTER TABLE ledger_account ENABLE ALWAYS TRIGGER ledger_account_guard;

-- Postings ----------------------------------------------------------------------------------------------
-- Fires once per statement, over all rows that it added. Each statement must balance by itself, per
-- transaction, book and currency. Each row must have its account's currency and continue its account (seq,
-- running balance, time). Nothing may be added to a transaction of an earlier database transaction.
-- Loops over single look-ups: measured at half the cost of one joined query, most of which is set-up when
-- there are two rows.
-- ledger_post sets commonweal.posting to the id of its transaction to skip reading again what it has just
-- computed under its locks. This is no loophole: a role without INSERT gains nothing by the setting, a setting
-- left behind covers no other transaction, and a trigger cannot stop the owner of the tables, only protect it
-- from mistakes.

CREATE OR REPLACE FUNCTION posting_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_setting text := current_setting('commonweal.posting', true);
    v_checked boolean := false;
    p record; v_transaction uuid; v_book uuid; v_currency text; v_sum bigint := 0; v_xid bigint;
    v_account_currency text; v_posted bigint; v_seq bigint; v_before bigint; v_at timestamptz;
BEGIN
    -- ledger_post adds the postings of one transaction, those of a book together: nearly always, each run of them
    -- sums to zero as they come, and nothing has to be sorted.
    FOR p IN SELECT transaction_id, book_id, currency, amount FROM added LOOP
        IF v_book IS DISTINCT FROM p.book_id OR v_currency <> p.currency THEN
            EXIT WHEN NOT v_sum = 0;
            v_book := p.book_id; v_currency := p.currency;
        END IF;
        v_checked := coalesce(v_setting = p.transaction_id::text, false);
        EXIT WHEN NOT v_checked;
        v_sum := v_sum + p.amount;
    END LOOP;
    IF v_checked AND v_sum = 0 THEN
        RETURN NULL;
    END IF;
    v_sum := 0; v_book := NULL; v_currency := NULL;
    FOR p IN SELECT transaction_id, book_id, account_id, seq, currency, amount, balance_after, at
             FROM added ORDER BY transaction_id, book_id, currency LOOP
        IF v_transaction IS DISTINCT FROM p.transaction_id OR v_book <> p.book_id OR v_currency <> p.currency THEN
            EXIT WHEN v_sum <> 0;
            IF v_transaction IS DISTINCT FROM p.transaction_id THEN
                v_checked := coalesce(v_setting = p.transaction_id::text, false);
            END IF;
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
            -- Row comparison, so that only the primary key can serve: otherwise the planner may choose the
            -- index on time, which reads the whole history of a busy account.
            -- If the previous posting is missing, an earlier one is found, and v_before becomes null.
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

CREATE OR REPLACE TRIGGER posting_guard AFTER INSERT ON posting REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION posting_guard();
ALTER TABLE posting ENABLE ALWAYS TRIGGER posting_guard;

-- Transactions ------------------------------------------------------------------------------------------
-- The amounts of a transaction are consistent, and refunds never exceed the original. A trigger prepares its
-- expressions once per session; CHECK constraints are parsed anew with each statement.

CREATE OR REPLACE FUNCTION transaction_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_wrong text;
BEGIN
    -- Called from here: PostgreSQL reads the WHEN condition of a trigger anew for each statement.
    IF NEW.kind IN ('SETTLEMENT', 'PLATFORM_FEE_SETTLEMENT') THEN
        PERFORM settlement_transaction_guard(NEW);
    ELSIF NEW.kind = 'REDEMPTION_PAYOUT' THEN
        PERFORM payout_transaction_guard(NEW);
    ELSIF NEW.kind IN ('EXPENSE', 'CASH_OUT') THEN
        PERFORM payout_fee_guard(NEW);
    END IF;
    -- Two lists: a long one is hashed, anew for each posting, which takes longer than it saves.
    IF NEW.kind NOT IN ('DONATION', 'ADDED_FUNDS', 'EXPENSE', 'TRANSFER', 'HOURS', 'REDEMPTION', 'MERGE', 'REFUND')
       AND NEW.kind NOT IN ('REDEMPTION_PAYOUT', 'CASH_OUT', 'BONUS', 'HOST_FEE', 'PAYMENT_PROCESSOR_COVER',
                            'SETTLEMENT', 'PLATFORM_FEE_SETTLEMENT', 'OPENING_BALANCE', 'HOST_MOVE', 'TAX',
                            'PLATFORM_TIP', 'PREPAID_PAYMENT_METHOD', 'HOST_FEE_SHARE', 'HOST_FEE_SHARE_DEBT',
                            'PAYMENT_PROCESSOR_FEE', 'DISPUTE_COVER', 'DISPUTE_FEE') THEN
        v_wrong := 'kind_known';
    ELSIF (NEW.refund_of_id IS NOT NULL) <> (NEW.kind = 'REFUND') THEN
        v_wrong := 'refund_kind';
    ELSIF NEW.fx_rate <= 0 THEN
        v_wrong := 'fx_rate_positive';
    ELSIF NEW.to_host_amount <> NEW.gross - NEW.payment_processor_fee - NEW.platform_fee THEN
        v_wrong := 'to_host_amount';
    ELSIF NEW.currency = NEW.host_currency AND NEW.to_collective_amount <> NEW.to_host_amount - NEW.host_fee THEN
        v_wrong := 'to_collective_amount';
    ELSIF abs(NEW.to_collective_amount) > abs(NEW.amount) THEN
        v_wrong := 'to_collective_at_most_amount';
    ELSIF NEW.refund_of_id IS NULL
        AND (NEW.amount <= 0 OR NEW.payment_processor_fee < 0 OR NEW.platform_fee < 0 OR NEW.host_fee < 0
             OR NEW.to_collective_amount < 0)
        OR NEW.refund_of_id IS NOT NULL
        AND (NEW.amount >= 0 OR NEW.payment_processor_fee > 0 OR NEW.platform_fee > 0 OR NEW.host_fee > 0
             OR NEW.to_collective_amount > 0) THEN
        v_wrong := 'signs';
    ELSIF NEW.from_host_id IS NOT NULL AND num_nulls(
              NEW.from_host_currency, NEW.from_host_fx_rate, NEW.from_host_amount,
              NEW.from_collective_currency, NEW.from_collective_fx_rate, NEW.from_collective_amount) > 0 THEN
        -- What is unknown has no leg: currents or money would arrive that nobody gave.
        v_wrong := 'paying_side';
    END IF;
    IF v_wrong IS NOT NULL THEN
        RAISE EXCEPTION 'the amounts of a transaction are inconsistent: %', v_wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_transaction_' || v_wrong;
    END IF;
    IF NEW.refund_of_id IS NOT NULL THEN
        PERFORM count_refund(NEW);
    END IF;
    RETURN NEW;
END $$;

-- Adds a refund to its original's total, which a CHECK limits to the original amount. No side gets back more than
-- it gave, and all refunds of the whole amount give it back wholly. Imported refunds have the figures of their file.

CREATE OR REPLACE FUNCTION count_refund(p_refund transaction) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO refund_total (transaction_id, amount, refunded)
    SELECT t.id, t.amount, -p_refund.amount FROM transaction t
    WHERE t.id = p_refund.refund_of_id AND t.refund_of_id IS NULL AND t.currency = p_refund.currency
      AND t.order_id IS NOT DISTINCT FROM p_refund.order_id
    ON CONFLICT (transaction_id) DO UPDATE SET refunded = refund_total.refunded + excluded.refunded;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a refund needs an original of the same order and currency that is not itself a refund'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refund_of_original';
    END IF;
    -- The row of refund_total is locked by now: no other refund of this original is being written.
    PERFORM FROM transaction t
    CROSS JOIN LATERAL (
        SELECT t.amount + coalesce(sum(r.amount), 0) + p_refund.amount AS amount,
               t.gross + coalesce(sum(r.gross), 0) + p_refund.gross AS gross,
               -coalesce(t.from_host_amount + coalesce(sum(r.from_host_amount), 0) + p_refund.from_host_amount, 0)
                   AS from_host,
               -coalesce(t.from_collective_amount + coalesce(sum(r.from_collective_amount), 0)
                         + p_refund.from_collective_amount, 0) AS from_collective
        FROM transaction r WHERE r.refund_of_id = t.id) AS rest
    WHERE t.id = p_refund.refund_of_id
      AND (least(rest.gross, rest.from_host, rest.from_collective) < 0
           OR rest.amount = 0 AND greatest(rest.gross, rest.from_host, rest.from_collective) > 0
           OR (t.from_host_id, t.to_host_id) IS DISTINCT FROM (p_refund.from_host_id, p_refund.to_host_id))
      AND NOT EXISTS (SELECT FROM "order" o WHERE o.id = t.order_id AND o.import_key IS NOT NULL);
    IF FOUND THEN
        RAISE EXCEPTION 'refunds give back what each side gave, and no more'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refund_figures';
    END IF;
END $$;

CREATE OR REPLACE TRIGGER transaction_guard BEFORE INSERT ON transaction
FOR EACH ROW EXECUTE FUNCTION transaction_guard();
ALTER TABLE transaction ENABLE ALWAYS TRIGGER transaction_guard;

-- Issuance ----------------------------------------------------------------------------------------------
-- A nonprofit issues currents only while approved, and within its caps. ledger_post calls this after it
-- debited an ISSUANCE account, under that account's lock; p_posted is the new balance. The amount issued in a
-- period is the balance before the period minus p_posted. Amounts in minor units.

CREATE OR REPLACE FUNCTION issuance_guard(
    p_book uuid, p_account bigint, p_nonprofit uuid, p_posted bigint, p_now timestamptz
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_cap record; v_before bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM collective c
                   WHERE c.id = p_nonprofit AND (c.is_platform OR c.issuer_approved_at IS NOT NULL)) THEN
        RAISE EXCEPTION 'only an approved nonprofit may issue currents'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'issuer_approved';
    END IF;
    FOR v_cap IN (SELECT DISTINCT ON (c.period) c.period, c.amount_minor FROM issuance_cap c
                  WHERE c.nonprofit_id = p_nonprofit AND c.valid_from <= p_now
                  ORDER BY c.period, c.valid_from DESC, c.id DESC)
                 UNION ALL
                 -- A nonprofit for which the platform has set no cap has the policy's.
                 (SELECT 'MONTH', y.default_issuance_cap_minor FROM platform_policy y
                  WHERE y.valid_from <= p_now
                    AND NOT EXISTS (SELECT FROM issuance_cap c
                                    WHERE c.nonprofit_id = p_nonprofit AND c.valid_from <= p_now)
                    AND NOT EXISTS (SELECT FROM collective c WHERE c.id = p_nonprofit AND c.is_platform)
                  ORDER BY y.valid_from DESC, y.id DESC LIMIT 1) LOOP
        CONTINUE WHEN v_cap.amount_minor IS NULL;
        SELECT q.balance_after INTO v_before FROM posting q
        WHERE q.book_id = p_book AND q.account_id = p_account
          AND q.at < date_trunc(lower(v_cap.period), p_now AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
        ORDER BY q.at DESC, q.seq DESC LIMIT 1;
        IF coalesce(v_before, 0) - p_posted > v_cap.amount_minor THEN
            RAISE EXCEPTION 'the issuance cap is reached'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'issuance_cap';
        END IF;
    END LOOP;
END $$;

REVOKE ALL ON FUNCTION ledger_account_guard(), posting_guard(), transaction_guard(), count_refund(transaction),
    issuance_guard(uuid, bigint, uuid, bigint, timestamptz) FROM PUBLIC, commonweal_app;
