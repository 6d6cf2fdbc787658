-- Guards of payments through a provider: its word decides, and each word counts once.

-- A host's account is named once: what it collected is there for ever.

CREATE OR REPLACE FUNCTION provider_account_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.external_id IS NOT NULL
          AND (NEW.external_id, NEW.livemode) IS DISTINCT FROM (OLD.external_id, OLD.livemode)
       OR (OLD.id, OLD.host_id, OLD.provider) IS DISTINCT FROM (NEW.id, NEW.host_id, NEW.provider) THEN
        RAISE EXCEPTION 'an account at a provider is named once'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'provider_account_named_once';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER provider_account_guard BEFORE UPDATE ON provider_account
FOR EACH ROW EXECUTE FUNCTION provider_account_guard();
ALTER TABLE provider_account ENABLE ALWAYS TRIGGER provider_account_guard;

-- An event is processed once, and its text stays what the provider wrote.

CREATE OR REPLACE FUNCTION provider_event_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.processed_at IS NOT NULL
       OR (OLD.id, OLD.provider, OLD.external_id, OLD.type, OLD.body, OLD.received_at)
          IS DISTINCT FROM (NEW.id, NEW.provider, NEW.external_id, NEW.type, NEW.body, NEW.received_at) THEN
        RAISE EXCEPTION 'what a provider told is processed once, and never changed'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'provider_event_once';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER provider_event_guard BEFORE UPDATE ON provider_event
FOR EACH ROW EXECUTE FUNCTION provider_event_guard();
ALTER TABLE provider_event ENABLE ALWAYS TRIGGER provider_event_guard;

-- A payment ends once. It is of an order that is paid by a method of its account, with a card of the order's giver: what
-- a guest pays with becomes nobody's.

CREATE OR REPLACE FUNCTION provider_payment_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NOT EXISTS (SELECT FROM "order" o JOIN payment_method m ON m.id = o.payment_method_id
                       WHERE o.id = NEW.order_id AND o.payment_method_kind = 'PROVIDER'
                         AND m.provider_account_id = NEW.provider_account_id) THEN
            RAISE EXCEPTION 'a payment is through the account of its order''s payment method'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'provider_payment_of_order';
        END IF;
    ELSIF OLD.status <> NEW.status
          AND (OLD.status, NEW.status) NOT IN (
              ('OPEN', 'PROCESSING'), ('OPEN', 'SUCCEEDED'), ('OPEN', 'FAILED'), ('OPEN', 'CANCELLED'),
              ('PROCESSING', 'SUCCEEDED'), ('PROCESSING', 'FAILED'), ('PROCESSING', 'CANCELLED'),
              ('PROCESSING', 'OPEN'),
              ('FAILED', 'SUCCEEDED'), ('CANCELLED', 'SUCCEEDED'))
          -- What a bank refuses days later is tried again for a recurring gift alone.
          OR (OLD.status, NEW.status) = ('PROCESSING', 'OPEN')
             AND NOT EXISTS (SELECT FROM "order" o WHERE o.id = NEW.order_id AND o.subscription_id IS NOT NULL)
          OR OLD.external_id IS NOT NULL AND NEW.external_id IS DISTINCT FROM OLD.external_id
          OR OLD.dispute_id IS NOT NULL AND NEW.dispute_id IS DISTINCT FROM OLD.dispute_id
          OR OLD.dispute_status IS NOT NULL AND OLD.dispute_status <> 'OPEN'
             AND NEW.dispute_status IS DISTINCT FROM OLD.dispute_status
          OR OLD.is_dispute_posted AND NOT NEW.is_dispute_posted THEN
        RAISE EXCEPTION 'a payment or its dispute has ended'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'provider_payment_ends_once';
    END IF;
    IF NEW.instrument_id IS NOT NULL AND (TG_OP = 'INSERT' OR OLD.instrument_id IS DISTINCT FROM NEW.instrument_id)
       AND NOT EXISTS (SELECT FROM instrument i JOIN "order" o ON o.from_id = i.owner_id
                       WHERE i.id = NEW.instrument_id AND i.provider_account_id = NEW.provider_account_id
                         AND o.id = NEW.order_id AND coalesce(o.giver_status, 'CONFIRMED') = 'CONFIRMED') THEN
        RAISE EXCEPTION 'a payment is made with a card of its giver'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'provider_payment_card_of_giver';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER provider_payment_guard BEFORE INSERT OR UPDATE ON provider_payment
FOR EACH ROW EXECUTE FUNCTION provider_payment_guard();
ALTER TABLE provider_payment ENABLE ALWAYS TRIGGER provider_payment_guard;

-- A refund is of a collected payment, within the amount of its order and its tip, and ends once. Each that is asked
-- for sends real money: none is asked for while a bank disputes the payment or after it took it back. One that the
-- host made at the provider itself begins confirmed. The payment is locked, so that two at once cannot exceed it.

CREATE OR REPLACE FUNCTION provider_refund_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_payment record; v_earlier bigint;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.status <> NEW.status
              AND (OLD.status, NEW.status) NOT IN (
                  ('REQUESTED', 'SENT'), ('REQUESTED', 'CONFIRMED'), ('REQUESTED', 'FAILED'),
                  ('SENT', 'CONFIRMED'), ('SENT', 'FAILED'))
           OR OLD.status IN ('CONFIRMED', 'FAILED')
           OR OLD.external_id IS NOT NULL AND NEW.external_id IS DISTINCT FROM OLD.external_id
           OR (OLD.id, OLD.order_id, OLD.amount_minor, OLD.is_stray)
              IS DISTINCT FROM (NEW.id, NEW.order_id, NEW.amount_minor, NEW.is_stray) THEN
            RAISE EXCEPTION 'a refund ends once, and its terms never change'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'provider_refund_ends_once';
        END IF;
        IF OLD.status = NEW.status OR NEW.status <> 'CONFIRMED' THEN
            RETURN NEW;
        END IF;
    END IF;
    SELECT p.status, p.dispute_status, o.amount + coalesce(o.tip, 0) AS amount INTO v_payment
    FROM provider_payment p JOIN "order" o ON o.id = p.order_id
    WHERE p.order_id = NEW.order_id FOR NO KEY UPDATE OF p;
    IF v_payment.status IS DISTINCT FROM 'SUCCEEDED' OR NEW.status NOT IN ('REQUESTED', 'CONFIRMED') THEN
        RAISE EXCEPTION 'a refund is asked for, or was made at the provider, once the payment is collected'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'provider_refund_of_collected';
    END IF;
    IF NEW.status = 'REQUESTED' AND v_payment.dispute_status IN ('OPEN', 'LOST') THEN
        RAISE EXCEPTION 'a disputed payment is not refunded'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'provider_refund_of_disputed';
    END IF;
    SELECT coalesce(sum(r.amount_minor), 0) INTO v_earlier FROM provider_refund r
    WHERE r.order_id = NEW.order_id AND r.id <> NEW.id
      AND (r.status = 'CONFIRMED' OR NEW.status = 'REQUESTED' AND r.status IN ('REQUESTED', 'SENT'));
    IF v_earlier + NEW.amount_minor > v_payment.amount THEN
        RAISE EXCEPTION 'refunds never exceed the payment'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'provider_refund_within_payment';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER provider_refund_guard BEFORE INSERT OR UPDATE ON provider_refund
FOR EACH ROW EXECUTE FUNCTION provider_refund_guard();
ALTER TABLE provider_refund ENABLE ALWAYS TRIGGER provider_refund_guard;

-- True if a provider has the money of an order.

CREATE OR REPLACE FUNCTION provider_has_paid(p_order uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM provider_payment p WHERE p.order_id = p_order AND p.status = 'SUCCEEDED')
$$;

-- An order that a provider collects is paid by the provider's word alone.

CREATE OR REPLACE FUNCTION provider_order_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT provider_has_paid(NEW.id) THEN
        RAISE EXCEPTION 'an order is paid when its provider says so'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'paid_by_provider';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER provider_order_guard BEFORE INSERT OR UPDATE OF status ON "order"
FOR EACH ROW WHEN (NEW.payment_method_kind = 'PROVIDER' AND NEW.status IN ('APPROVED', 'PAID') AND NEW.import_key IS NULL)
EXECUTE FUNCTION provider_order_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER provider_order_guard;

REVOKE ALL ON FUNCTION provider_account_guard(), provider_event_guard(), provider_payment_guard(), provider_refund_guard(),
    provider_has_paid(uuid), provider_order_guard() FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION provider_has_paid(uuid) TO commonweal_app;
