-- Guards of offers and events. No two orders for hours of a volunteer overlap, either: see the constraint
-- ex_order_hours_overlap.

-- Currents that came to an account since a time other than by issuance, less those that were given back. Whoever
-- moves currents to another account, directly or through a collective, moves nobody's weekly limit.

CREATE OR REPLACE FUNCTION currents_received(p_book uuid, p_account bigint, p_since timestamptz) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT coalesce(sum(q.amount), 0)::bigint
    FROM posting q JOIN transaction t ON t.id = q.transaction_id LEFT JOIN transaction o ON o.id = t.refund_of_id
    WHERE q.book_id = p_book AND q.account_id = p_account AND q.at > p_since
      AND (t.kind NOT IN ('HOURS', 'BONUS', 'OPENING_BALANCE', 'REFUND') AND q.amount > 0
           OR t.kind = 'REFUND' AND q.amount < 0 AND o.kind NOT IN ('HOURS', 'BONUS', 'OPENING_BALANCE') AND o.at > p_since)
$$;

-- The limits of an offer, checked when a redemption is written, under locks of the offer and of the user's
-- currents: of several that race for the last one, one succeeds. Rejected, cancelled, expired and refunded
-- redemptions do not count.

CREATE OR REPLACE FUNCTION redemption_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_order "order"; v_offer offer; v_zone text; v_month timestamptz; v_limit bigint; v_used bigint; v_own bigint;
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
            RAISE EXCEPTION 'the offer''s limit for this month is reached'
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
        -- What the user has beside what was received from others; a hold of this order is the user's to spend.
        SELECT coalesce(sum(a.posted - a.held), 0)
               + coalesce((SELECT h.amount FROM hold h WHERE h.order_id = v_order.id AND h.released_at IS NULL), 0)
               - coalesce(sum(currents_received(a.book_id, a.id, v_order.created_at - interval '7 days')), 0)
        INTO v_own FROM ledger_account a
        WHERE a.owner_id = v_order.from_id AND a.currency = 'CUR' AND a.kind = 'BALANCE';
        IF v_order.amount > v_own THEN
            RAISE EXCEPTION 'currents received within seven days do not count for master offers'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'redemption_received_lately';
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER redemption_guard BEFORE INSERT ON redemption
FOR EACH ROW EXECUTE FUNCTION redemption_guard();
ALTER TABLE redemption ENABLE ALWAYS TRIGGER redemption_guard;

-- Hours are at most the time that they took. Those of an event are at most what the policy allows an attendance,
-- whether checked in or logged; all others are at most a day, or what was asked.

CREATE OR REPLACE FUNCTION hours_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_most bigint := 24000; v_amount bigint := greatest(NEW.amount, NEW.approved_amount);
BEGIN
    -- A constraint refuses hours without times.
    IF TG_OP = 'INSERT' AND NEW.starts_at < NEW.ends_at
       AND NEW.amount > greatest(1, round(extract(epoch FROM NEW.ends_at - NEW.starts_at) / 3.6)) THEN
        RAISE EXCEPTION 'hours are at most the time that they took'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'hours_within_time';
    END IF;
    IF NEW.event_id IS NOT NULL THEN
        SELECT p.max_event_hours_minor INTO v_most FROM platform_policy p WHERE p.id = NEW.policy_id;
    END IF;
    IF v_amount > v_most THEN
        RAISE EXCEPTION 'the hours exceed what can be credited'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'hours_credit';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER hours_guard BEFORE INSERT OR UPDATE OF approved_amount ON "order"
FOR EACH ROW WHEN (NEW.type = 'HOURS') EXECUTE FUNCTION hours_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER hours_guard;

-- An event never has more attendees than its capacity.

CREATE OR REPLACE FUNCTION event_capacity_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_capacity int; v_taken bigint;
BEGIN
    SELECT c.capacity INTO v_capacity FROM collective c WHERE c.id = NEW.collective_id FOR NO KEY UPDATE;
    IF v_capacity IS NULL THEN
        RETURN NEW;
    END IF;
    -- A user who attends already is not counted: the unique index refuses the row.
    SELECT count(*) INTO v_taken FROM member m
    WHERE m.collective_id = NEW.collective_id AND m.role = 'ATTENDEE' AND m.until IS NULL
      AND m.member_id <> NEW.member_id;
    IF v_taken >= v_capacity THEN
        RAISE EXCEPTION 'the event is full'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'event_capacity';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER event_capacity_guard BEFORE INSERT ON member
FOR EACH ROW WHEN (NEW.role = 'ATTENDEE' AND NEW.until IS NULL) EXECUTE FUNCTION event_capacity_guard();
ALTER TABLE member ENABLE ALWAYS TRIGGER event_capacity_guard;

-- Requests for hours of one volunteer take turns. Without it two that overlap would each insert a row and wait
-- for the other, until PostgreSQL's deadlock detector ends one of them a second later.

CREATE OR REPLACE FUNCTION hours_take_turns() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(uuid_hash_extended(NEW.to_id, 2));
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER hours_take_turns BEFORE INSERT ON "order"
FOR EACH ROW WHEN (NEW.type = 'HOURS') EXECUTE FUNCTION hours_take_turns();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER hours_take_turns;

REVOKE ALL ON FUNCTION redemption_guard(), event_capacity_guard(), hours_guard(), hours_take_turns(),
    currents_received(uuid, bigint, timestamptz) FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION currents_received(uuid, bigint, timestamptz) TO commonweal_app;
