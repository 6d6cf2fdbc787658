-- Guards of recurring gifts: who may have one, what each period's order is, and what ends or pauses them.

-- True while a gift goes on, and so takes its places in a tier.

CREATE OR REPLACE FUNCTION subscription_goes_on(p_status text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT p_status IN ('PENDING', 'ACTIVE', 'PAST_DUE', 'PAUSED')
$$;

-- Both sides are open and can hold money, and the payee has a host that takes new money. The lock makes archiving,
-- leaving a host and a new gift wait for each other; it comes before that of the gift.

CREATE OR REPLACE FUNCTION require_subscription_sides(p_from uuid, p_to uuid, p_currency text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE side record;
BEGIN
    -- Tested in the loop: a WHERE condition would be tested before the statement waits for the lock.
    FOR side IN SELECT c.id, c.type, c.currency, c.archived_at, c.claimed_at, c.host_id
                FROM collective c WHERE c.id IN (p_from, p_to) ORDER BY c.id FOR SHARE LOOP
        IF side.type = 'EVENT' OR side.archived_at IS NOT NULL
           OR EXISTS (SELECT FROM suspension x WHERE x.user_id = side.id AND x.ended_at IS NULL) THEN
            RAISE EXCEPTION 'both sides of a gift must be open and able to hold money'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_sides_open';
        ELSIF side.id = p_from AND side.type = 'USER' AND side.claimed_at IS NULL THEN
            RAISE EXCEPTION 'a user known by email alone cannot spend'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_payer_claimed';
        ELSIF side.id = p_to AND side.host_id IS NULL THEN
            RAISE EXCEPTION 'a gift needs a host that holds it'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_hosted';
        ELSIF side.id = p_to AND side.currency <> p_currency THEN
            RAISE EXCEPTION 'a gift is in the currency of its payee'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_currency';
        ELSIF side.id = p_to THEN
            PERFORM require_open_book(side.host_id);
        END IF;
    END LOOP;
END $$;

-- A payment method, with its fees, is one of the payee's host, which the payee does not leave meanwhile. A card is one of
-- the giver's own, kept by the host's account at its provider.

CREATE OR REPLACE FUNCTION require_subscription_method(p_row subscription) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM payment_method m JOIN collective c ON c.host_id = m.host_id
    WHERE m.id = p_row.payment_method_id AND m.kind = p_row.payment_method_kind AND c.id = p_row.to_id
    FOR SHARE OF c;
    IF NOT FOUND AND p_row.payment_method_id IS NOT NULL THEN
        RAISE EXCEPTION 'the payment method of a gift is one of its payee''s host'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_method';
    END IF;
    IF p_row.instrument_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM instrument i JOIN payment_method m ON m.provider_account_id = i.provider_account_id
        WHERE i.id = p_row.instrument_id AND m.id = p_row.payment_method_id AND i.owner_id = p_row.from_id
          AND i.archived_at IS NULL) THEN
        RAISE EXCEPTION 'a gift is paid with a card of its giver, kept for its host'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_card';
    END IF;
END $$;

-- Only a person gives incognito, and no ticket that registers one.

CREATE OR REPLACE FUNCTION require_incognito_person(p_row subscription) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM collective c WHERE c.id = p_row.from_id AND c.type = 'USER') THEN
        RAISE EXCEPTION 'only a person gives incognito'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'incognito_person';
    END IF;
    PERFORM require_no_ticket(p_row.tier_id);
END $$;

-- A gift begins with its first period, by card with the payment of that, and comes twice at least: one that ends at once would give its place in a
-- tier back at once.

CREATE OR REPLACE FUNCTION subscription_insert_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.status <> (CASE NEW.payment_method_kind WHEN 'PROVIDER' THEN 'PENDING' ELSE 'ACTIVE' END)
       OR NEW.next_charge_on <> NEW.starts_on OR NEW.failures <> 0 OR NEW.delays <> 0
       OR NEW.is_anchor_changed OR NEW.notice IS NOT NULL THEN
        RAISE EXCEPTION 'a recurring gift begins with its first period'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_begins';
    END IF;
    IF NEW.is_incognito THEN
        PERFORM require_incognito_person(NEW);
    END IF;
    IF NEW.ends_after < NEW.starts_on + ('1 ' || NEW.interval)::interval THEN
        RAISE EXCEPTION 'a recurring gift comes twice at least'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_repeats';
    END IF;
    PERFORM require_subscription_sides(NEW.from_id, NEW.to_id, NEW.currency);
    PERFORM require_subscription_method(NEW);
    IF NEW.tier_id IS NOT NULL THEN
        PERFORM take_subscription_places(NEW, true);
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER subscription_insert_guard BEFORE INSERT ON subscription
FOR EACH ROW EXECUTE FUNCTION subscription_insert_guard();
ALTER TABLE subscription ENABLE ALWAYS TRIGGER subscription_insert_guard;

-- Who gives to whom, how often and from when on never changes, and an ended gift stays ended; the worker notes why
-- when it tells. The day moves once a period, and no period comes twice. Tiers are locked in the order of their ids.

CREATE OR REPLACE FUNCTION subscription_update_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_free text[] := '{notice,due_at,delays,updated_at}';
BEGIN
    IF is_erasing() AND to_jsonb(OLD) - '{description,pause_reason,ended_reason}'::text[]
                      = to_jsonb(NEW) - '{description,pause_reason,ended_reason}'::text[] THEN
        RETURN NEW;
    END IF;
    IF OLD.notice IS NOT NULL AND NEW.notice IS NULL THEN
        v_free := v_free || '{ended_reason}'::text[];
    END IF;
    IF NOT subscription_goes_on(OLD.status) AND to_jsonb(OLD) - v_free <> to_jsonb(NEW) - v_free THEN
        RAISE EXCEPTION 'an ended gift stays ended'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_ended';
    END IF;
    IF OLD.status <> NEW.status AND NEW.status = 'PENDING' OR OLD.status = 'PENDING' AND NEW.status <> 'PENDING'
       AND NEW.status <> 'CANCELLED' AND (NEW.status <> 'ACTIVE' OR NOT EXISTS (
           SELECT FROM "order" o WHERE o.subscription_id = NEW.id AND provider_has_paid(o.id))) THEN
        RAISE EXCEPTION 'a gift by card begins with its first payment'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_begins';
    END IF;
    IF (OLD.id, OLD.from_id, OLD.to_id, OLD.currency, OLD.interval, OLD.timezone, OLD.description, OLD.starts_on,
        OLD.ends_after, OLD.created_by_id, OLD.created_at)
       IS DISTINCT FROM
       (NEW.id, NEW.from_id, NEW.to_id, NEW.currency, NEW.interval, NEW.timezone, NEW.description, NEW.starts_on,
        NEW.ends_after, NEW.created_by_id, NEW.created_at) THEN
        RAISE EXCEPTION 'the terms of a recurring gift cannot change'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_terms';
    END IF;
    IF NEW.is_incognito AND (NOT OLD.is_incognito OR NEW.tier_id IS DISTINCT FROM OLD.tier_id) THEN
        PERFORM require_incognito_person(NEW);
    END IF;
    IF NEW.anchor_day <> OLD.anchor_day AND (OLD.is_anchor_changed OR NOT NEW.is_anchor_changed)
       OR OLD.is_anchor_changed AND NOT NEW.is_anchor_changed AND NEW.next_charge_on <= OLD.next_charge_on
       OR NEW.anchor_day <> OLD.anchor_day  -- a period that is being charged stays the same
          AND EXISTS (SELECT FROM "order" o WHERE o.subscription_id = NEW.id AND o.period = OLD.next_charge_on
                      AND o.status = 'PENDING') THEN
        RAISE EXCEPTION 'the day moves once a period'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_anchor';
    END IF;
    IF NEW.next_charge_on <> OLD.next_charge_on
       AND EXISTS (SELECT FROM "order" o WHERE o.subscription_id = NEW.id AND o.period >= NEW.next_charge_on
                   AND (o.status <> 'FAILED' OR o.period > NEW.next_charge_on)) THEN
        RAISE EXCEPTION 'a period comes once'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_period';
    END IF;
    IF OLD.status = 'PAUSED' AND NEW.status IN ('ACTIVE', 'PAST_DUE') THEN
        PERFORM require_subscription_sides(NEW.from_id, NEW.to_id, NEW.currency);
        PERFORM require_subscription_method(NEW);
    ELSIF (OLD.payment_method_kind, OLD.payment_method_id, OLD.instrument_id)
          IS DISTINCT FROM (NEW.payment_method_kind, NEW.payment_method_id, NEW.instrument_id) THEN
        PERFORM require_subscription_method(NEW);
    END IF;
    IF (OLD.tier_id, OLD.quantity, OLD.amount_minor) IS DISTINCT FROM (NEW.tier_id, NEW.quantity, NEW.amount_minor) THEN
        PERFORM FROM tier t WHERE t.id IN (OLD.tier_id, NEW.tier_id) ORDER BY t.id FOR NO KEY UPDATE;
        IF OLD.tier_id IS NOT NULL THEN
            UPDATE tier SET sold = sold - OLD.quantity WHERE id = OLD.tier_id;
        END IF;
        IF NEW.tier_id IS NOT NULL THEN
            PERFORM take_subscription_places(NEW, NEW.tier_id IS DISTINCT FROM OLD.tier_id);
        END IF;
    END IF;
    IF NEW.tier_id IS NOT NULL AND subscription_goes_on(OLD.status) AND NOT subscription_goes_on(NEW.status) THEN
        UPDATE tier SET sold = sold - NEW.quantity WHERE id = NEW.tier_id;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER subscription_update_guard BEFORE UPDATE ON subscription
FOR EACH ROW EXECUTE FUNCTION subscription_update_guard();
ALTER TABLE subscription ENABLE ALWAYS TRIGGER subscription_update_guard;

-- The order of a period is what the gift says, and comes when the gift is due: on its day, or five days earlier if
-- a transfer is awaited. The worker's clock may be fast by five minutes. What was refused is tried again while the
-- gift goes on. Periods are counted by month or year, whatever the day.

CREATE OR REPLACE FUNCTION subscription_order_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE s subscription;
BEGIN
    SELECT x.* INTO s FROM subscription x WHERE x.id = NEW.subscription_id FOR NO KEY UPDATE;
    IF s.status NOT IN ('ACTIVE', 'PAST_DUE')
       AND NOT (s.status = 'PENDING' AND TG_OP = 'INSERT' AND NEW.payment_method_kind = 'PROVIDER') THEN
        RAISE EXCEPTION 'the recurring gift is paused or has ended'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_goes_on';
    END IF;
    IF NEW.period > ((now() + interval '5 minutes') AT TIME ZONE s.timezone)::date
                    + (CASE NEW.payment_method_kind WHEN 'MANUAL' THEN 5 ELSE 0 END) THEN
        RAISE EXCEPTION 'the period of a recurring gift is not due yet'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_due';
    END IF;
    IF NEW.period <> s.next_charge_on OR NEW.period > s.ends_after OR NEW.status NOT IN ('PENDING', 'PAID', 'FAILED')
       OR TG_OP = 'INSERT' AND EXISTS (
           SELECT FROM "order" o WHERE o.subscription_id = s.id
           AND date_trunc(s.interval, o.period::timestamp) = date_trunc(s.interval, NEW.period::timestamp)) THEN
        RAISE EXCEPTION 'a recurring gift has one order a period, when it is due'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_period';
    END IF;
    IF TG_OP = 'INSERT' AND (s.from_id, s.to_id, s.is_incognito, s.currency, s.amount_minor, s.tip_minor, s.tier_id, s.quantity)
       IS DISTINCT FROM (NEW.from_id, NEW.to_id, NEW.is_incognito, NEW.currency, NEW.amount, NEW.tip, NEW.tier_id,
                         NEW.quantity) THEN
        RAISE EXCEPTION 'an order of a recurring gift is what the gift says'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'subscription_order';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER subscription_order_guard BEFORE INSERT ON "order"
FOR EACH ROW WHEN (NEW.subscription_id IS NOT NULL) EXECUTE FUNCTION subscription_order_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER subscription_order_guard;
CREATE OR REPLACE TRIGGER subscription_retry_guard BEFORE UPDATE OF status ON "order"
FOR EACH ROW WHEN (NEW.subscription_id IS NOT NULL AND OLD.status = 'FAILED') EXECUTE FUNCTION subscription_order_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER subscription_retry_guard;

-- What becomes of the gifts of a collective whose state changes. Archiving ends them. Who leaves a host is given
-- nothing until somebody resumes the gift, and gives nothing from a balance that is no longer there; what was paid
-- into the bank of the old host does not move to a new one. Nothing comes through a host that is suspended. The
-- worker tells both sides.

CREATE OR REPLACE FUNCTION stop_subscriptions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.archived_at IS NOT NULL AND OLD.archived_at IS NULL THEN
        UPDATE subscription s SET status = 'CANCELLED', ended_at = now(), notice = 'ARCHIVED', due_at = now(),
            failures = 0, delays = 0, failed_on = NULL, paused_by = NULL, pause_reason = NULL, resumes_on = NULL,
            updated_at = now()
        WHERE NEW.id IN (s.from_id, s.to_id) AND subscription_goes_on(s.status);
    ELSIF NEW.host_suspended_at IS NOT NULL AND OLD.host_suspended_at IS NULL THEN
        PERFORM pause_subscription(s, 'HOST_SUSPENDED') FROM subscription s JOIN collective c ON c.id = s.to_id
        WHERE c.host_id = NEW.id AND s.status IN ('PENDING', 'ACTIVE', 'PAST_DUE');
    ELSIF NEW.host_id IS DISTINCT FROM OLD.host_id THEN
        PERFORM pause_subscription(s, 'HOST_LEFT') FROM subscription s
        WHERE s.status IN ('PENDING', 'ACTIVE', 'PAST_DUE')
          AND (s.to_id = NEW.id AND (NEW.host_id IS NULL OR s.payment_method_kind <> 'BALANCE'
                                     OR s.payment_method_id IS NOT NULL)
               OR s.from_id = NEW.id AND NEW.host_id IS NULL AND s.payment_method_kind = 'BALANCE');
    END IF;
    RETURN NULL;
END $$;

-- The status is tested again: the gift may have been paused or ended while the statement waited for its lock. One that
-- waits for its first payment ends.

CREATE OR REPLACE FUNCTION pause_subscription(p_row subscription, p_notice text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE subscription SET status = CASE status WHEN 'PENDING' THEN 'CANCELLED' ELSE 'PAUSED' END,
        paused_by = CASE status WHEN 'PENDING' THEN NULL ELSE 'PLATFORM' END,
        ended_at = CASE status WHEN 'PENDING' THEN now() END, notice = p_notice, due_at = now(),
        failures = 0, delays = 0, failed_on = NULL, updated_at = now()
    WHERE id = p_row.id AND status IN ('PENDING', 'ACTIVE', 'PAST_DUE')
$$;

CREATE OR REPLACE TRIGGER stop_subscriptions AFTER UPDATE ON collective FOR EACH ROW
WHEN (NEW.archived_at IS NOT NULL AND OLD.archived_at IS NULL OR NEW.host_id IS DISTINCT FROM OLD.host_id
      OR NEW.host_suspended_at IS NOT NULL AND OLD.host_suspended_at IS NULL) EXECUTE FUNCTION stop_subscriptions();
ALTER TABLE collective ENABLE ALWAYS TRIGGER stop_subscriptions;

CREATE OR REPLACE FUNCTION stop_subscriptions_of_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM pause_subscription(s, 'USER_SUSPENDED') FROM subscription s
    WHERE NEW.user_id IN (s.from_id, s.to_id) AND s.status IN ('PENDING', 'ACTIVE', 'PAST_DUE');
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER stop_subscriptions AFTER INSERT ON suspension
FOR EACH ROW EXECUTE FUNCTION stop_subscriptions_of_user();
ALTER TABLE suspension ENABLE ALWAYS TRIGGER stop_subscriptions;

REVOKE ALL ON FUNCTION subscription_goes_on(text), require_subscription_sides(uuid, uuid, text),
    require_subscription_method(subscription), require_incognito_person(subscription),
    subscription_insert_guard(), subscription_update_guard(), subscription_order_guard(), stop_subscriptions(),
    pause_subscription(subscription, text), stop_subscriptions_of_user() FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION subscription_goes_on(text) TO commonweal_app;
