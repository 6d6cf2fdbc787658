-- The volunteer economy: what the database itself guarantees about hours, offers, events and issuance.

-- History stays ------------------------------------------------------------------------------------------

DO $$
DECLARE t text;
BEGIN
    EXECUTE 'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON issuance_cap '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()';
    EXECUTE 'ALTER TABLE issuance_cap ENABLE ALWAYS TRIGGER append_only';
    FOREACH t IN ARRAY ARRAY['offer', 'receipt', 'redemption', 'attendance'] LOOP
        EXECUTE format('CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', t);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER never_deleted', t);
    END LOOP;
END $$;

-- Nobody volunteers in two places at once ----------------------------------------------------------------
-- A range of one uuid stands in for equality, which GiST knows only with a contrib extension.

CREATE TYPE uuid_span AS RANGE (subtype = uuid);

ALTER TABLE "order" ADD CONSTRAINT ex_order_hours_overlap EXCLUDE USING gist (
    uuid_span(to_id, to_id, '[]') WITH &&, tstzrange(starts_at, ends_at) WITH &&
) WHERE (type = 'HOURS' AND status IN ('PENDING', 'APPROVED', 'PAID'));

-- The two sides of a new order ---------------------------------------------------------------------------
-- Neither is archived or an event; a user known by email alone spends nothing; only an approved nonprofit
-- issues currents. The lock makes archiving and a new order wait for each other.

CREATE OR REPLACE FUNCTION order_sides_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE side record;
BEGIN
    -- A condition in the statement would be tested before the wait for the lock: it stands in the loop.
    FOR side IN SELECT c.id, c.type, c.currency, c.archived_at, c.claimed_at, c.issuer_approved_at, c.is_platform
                FROM collective c WHERE c.id IN (NEW.from_id, NEW.to_id) ORDER BY c.id FOR SHARE LOOP
        CONTINUE WHEN NEW.import_key IS NOT NULL;
        IF side.archived_at IS NOT NULL OR side.type = 'EVENT' THEN
            RAISE EXCEPTION 'an order needs two sides that are open and can hold money'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_sides_open';
        END IF;
        IF side.id = NEW.from_id AND side.type = 'USER' AND side.claimed_at IS NULL
           AND NEW.type IN ('DONATION', 'EXPENSE', 'TRANSFER', 'REDEMPTION', 'CASH_OUT') THEN
            RAISE EXCEPTION 'a user known by email alone spends nothing'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_payer_claimed';
        END IF;
        IF side.id = NEW.from_id AND (NEW.type = 'HOURS' AND side.issuer_approved_at IS NULL
                                      OR NEW.type = 'BONUS' AND NOT side.is_platform
                                      OR NEW.type = 'REDEMPTION' AND side.type <> 'USER')
           OR side.id = NEW.to_id AND (NEW.type IN ('HOURS', 'BONUS') AND side.type <> 'USER'
                                       OR NEW.type = 'REDEMPTION' AND side.type <> 'BUSINESS') THEN
            RAISE EXCEPTION 'an approved nonprofit issues currents to a user, who gives them to a business'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_currents_sides';
        END IF;
        -- Read under the lock: its currency cannot change between the order's making and its writing.
        IF side.id = NEW.to_id AND NEW.currency <> side.currency
           AND (NEW.type IN ('ADDED_FUNDS', 'EXPENSE') OR NEW.type IN ('DONATION', 'TRANSFER')
                AND NEW.currency <> 'CUR') THEN
            RAISE EXCEPTION 'an order has the currency of who gets it'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_currency';
        END IF;
    END LOOP;
    RETURN NEW;
END $$;

-- The states of an order: a redemption moves its currents at approval, so that it goes on or is given back.

CREATE OR REPLACE FUNCTION order_status_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (OLD.status, NEW.status) IN (
        ('PENDING', 'APPROVED'), ('PENDING', 'REJECTED'), ('PENDING', 'PAID'), ('PENDING', 'CANCELLED'),
        ('PENDING', 'EXPIRED'), ('PENDING', 'FAILED'), ('APPROVED', 'PAID'), ('APPROVED', 'REJECTED'),
        ('APPROVED', 'CANCELLED'), ('APPROVED', 'FAILED'), ('PAID', 'REFUNDED'))
       OR NEW.type = 'REDEMPTION' AND OLD.status = 'APPROVED' AND NEW.status <> 'PAID' THEN
        RAISE EXCEPTION 'an order does not go from % to %', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'order_status_transition';
    END IF;
    RETURN NEW;
END $$;

-- Hours whose end is known only at check-out are made shorter then, never longer, and never once decided.

CREATE FUNCTION order_end_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status <> 'PENDING' OR NEW.ends_at IS NULL OR NEW.ends_at > OLD.ends_at THEN
        RAISE EXCEPTION 'the end of hours moves back, while they wait'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'order_end_moves_back';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER order_end_guard BEFORE UPDATE OF ends_at ON "order"
FOR EACH ROW WHEN (OLD.ends_at IS DISTINCT FROM NEW.ends_at) EXECUTE FUNCTION order_end_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER order_end_guard;

-- Nobody approves, or pays out, what they made for themselves --------------------------------------------

CREATE FUNCTION approval_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE o record;
BEGIN
    SELECT x.type, x.from_id, x.to_id, x.created_by_id INTO o FROM "order" x WHERE x.id = NEW.order_id;
    IF NEW.type = 'APPROVE' AND (o.type = 'HOURS' AND NEW.actor_id = o.to_id
                                 OR o.type = 'EXPENSE' AND NEW.actor_id IN (o.to_id, o.created_by_id))
       OR o.type IN ('REDEMPTION', 'CASH_OUT') AND NEW.actor_id = o.from_id THEN
        RAISE EXCEPTION 'nobody approves what they made for themselves'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'approved_by_another';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER approval_guard BEFORE INSERT ON order_action
FOR EACH ROW WHEN (NEW.type IN ('APPROVE', 'PAY')) EXECUTE FUNCTION approval_guard();
ALTER TABLE order_action ENABLE ALWAYS TRIGGER approval_guard;

-- The limits of an offer ---------------------------------------------------------------------------------
-- Checked when a redemption is written, under a lock of the offer and of the user's currents: of many that
-- want the last place, one gets it. What was refused, withdrawn or expired does not count.

CREATE FUNCTION redemption_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_order "order"; v_offer offer; v_zone text; v_month timestamptz; v_limit bigint; v_used bigint;
BEGIN
    SELECT * INTO v_order FROM "order" o WHERE o.id = NEW.order_id;
    SELECT * INTO v_offer FROM offer f WHERE f.id = v_order.offer_id FOR NO KEY UPDATE;
    IF NOT v_offer.is_active OR v_offer.business_id <> v_order.to_id THEN
        RAISE EXCEPTION 'a redemption needs an active offer of its business'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'redemption_offer_active';
    END IF;
    IF v_offer.monthly_limit IS NOT NULL THEN
        SELECT coalesce(c.timezone, 'UTC') INTO v_zone FROM collective c WHERE c.id = v_offer.business_id;
        v_month := date_trunc('month', v_order.created_at AT TIME ZONE v_zone) AT TIME ZONE v_zone;
        SELECT count(*) INTO v_used FROM "order" o
        WHERE o.offer_id = v_offer.id AND o.created_at >= v_month AND o.id <> v_order.id
          AND o.status NOT IN ('REJECTED', 'CANCELLED', 'EXPIRED', 'REFUNDED');
        IF v_used >= v_offer.monthly_limit THEN
            RAISE EXCEPTION 'the offer''s limit of this month is reached'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'redemption_monthly_limit';
        END IF;
    END IF;
    IF NEW.is_master THEN
        PERFORM FROM ledger_account a
        WHERE a.owner_id = v_order.from_id AND a.currency = 'CUR' AND a.kind = 'BALANCE' FOR NO KEY UPDATE;
        SELECT p.master_weekly_limit_minor INTO v_limit FROM platform_policy p WHERE p.id = v_order.policy_id;
        SELECT coalesce(sum(coalesce(o.approved_amount, o.amount)), 0) INTO v_used
        FROM "order" o JOIN redemption r ON r.order_id = o.id
        WHERE o.from_id = v_order.from_id AND o.type = 'REDEMPTION' AND r.is_master
          AND o.created_at > v_order.created_at - interval '7 days'
          AND o.status NOT IN ('REJECTED', 'CANCELLED', 'EXPIRED', 'REFUNDED');
        IF v_used + v_order.amount > v_limit THEN
            RAISE EXCEPTION 'the weekly limit of master offers is reached'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'redemption_weekly_limit';
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER redemption_guard BEFORE INSERT ON redemption
FOR EACH ROW EXECUTE FUNCTION redemption_guard();
ALTER TABLE redemption ENABLE ALWAYS TRIGGER redemption_guard;

-- An event has no more attendees than places -------------------------------------------------------------

CREATE FUNCTION event_capacity_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_capacity int; v_taken bigint;
BEGIN
    SELECT c.capacity INTO v_capacity FROM collective c WHERE c.id = NEW.collective_id FOR NO KEY UPDATE;
    IF v_capacity IS NULL THEN
        RETURN NEW;
    END IF;
    -- Who is in already is none more: the unique index answers.
    SELECT count(*) INTO v_taken FROM member m
    WHERE m.collective_id = NEW.collective_id AND m.role = 'ATTENDEE' AND m.until IS NULL
      AND m.member_id <> NEW.member_id;
    IF v_taken >= v_capacity THEN
        RAISE EXCEPTION 'the event is full'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'event_capacity';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER event_capacity_guard BEFORE INSERT ON member
FOR EACH ROW WHEN (NEW.role = 'ATTENDEE' AND NEW.until IS NULL) EXECUTE FUNCTION event_capacity_guard();
ALTER TABLE member ENABLE ALWAYS TRIGGER event_capacity_guard;

-- A nonprofit issues while it is approved, and no more than its caps allow -------------------------------
-- Called by ledger_post when an ISSUANCE account was debited, under that account's lock: p_posted is its
-- balance since. What was issued in a period is the balance before it less that. Amounts in minor units.

CREATE FUNCTION issuance_guard(
    p_book uuid, p_account bigint, p_nonprofit uuid, p_posted bigint, p_now timestamptz
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_cap record; v_before bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM collective c
                   WHERE c.id = p_nonprofit AND (c.is_platform OR c.issuer_approved_at IS NOT NULL)) THEN
        RAISE EXCEPTION 'only an approved nonprofit issues currents'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'issuer_approved';
    END IF;
    FOR v_cap IN SELECT DISTINCT ON (c.period) c.period, c.amount_minor FROM issuance_cap c
                 WHERE c.nonprofit_id = p_nonprofit AND c.valid_from <= p_now
                 ORDER BY c.period, c.valid_from DESC, c.id DESC LOOP
        CONTINUE WHEN v_cap.amount_minor IS NULL;
        SELECT q.balance_after INTO v_before FROM posting q
        WHERE q.book_id = p_book AND q.account_id = p_account
          AND q.at < date_trunc(lower(v_cap.period), p_now AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
        ORDER BY q.at DESC, q.seq DESC LIMIT 1;
        IF coalesce(v_before, 0) - p_posted > v_cap.amount_minor THEN
            RAISE EXCEPTION 'the cap of issuance is reached'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'issuance_cap';
        END IF;
    END LOOP;
END $$;

-- Rights -------------------------------------------------------------------------------------------------

REVOKE ALL ON FUNCTION redemption_guard(), event_capacity_guard(), approval_guard(), order_end_guard(),
    issuance_guard(uuid, bigint, uuid, bigint, timestamptz) FROM PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO commonweal_app;
GRANT INSERT ON offer, receipt, redemption, attendance, issuance_cap, muted_topic, merged_email TO commonweal_app;
GRANT UPDATE ON offer TO commonweal_app;
GRANT UPDATE (approved_price_minor, usd_gross_minor, usd_fee_minor, caps) ON redemption TO commonweal_app;
GRANT UPDATE (ends_at) ON "order" TO commonweal_app;
GRANT UPDATE (checked_out_at) ON attendance TO commonweal_app;
GRANT DELETE ON muted_topic, credential TO commonweal_app;
