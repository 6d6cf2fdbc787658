-- Guards of offers and events. No two orders for hours of a volunteer overlap, either: see the constraint
-- ex_order_hours_overlap.

-- The limits of an offer, checked when a redemption is written, under locks of the offer and of the user's
-- currents: of several that race for the last one, one succeeds. Rejected, cancelled, expired and refunded
-- redemptions do not count.

CREATE OR REPLACE FUNCTION redemption_guard() RETURNS trigger
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
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER redemption_guard BEFORE INSERT ON redemption
FOR EACH ROW EXECUTE FUNCTION redemption_guard();
ALTER TABLE redemption ENABLE ALWAYS TRIGGER redemption_guard;

-- An event never has more attendees than its capacity.

CREATE OR REPLACE FUNCTION event_capacity_guard() RETURNS trigger LANGUAGE plpgsql AS $$
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

REVOKE ALL ON FUNCTION redemption_guard(), event_capacity_guard() FROM PUBLIC, commonweal_app;
