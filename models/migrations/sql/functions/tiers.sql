-- Guards of tiers: what an order of one costs, and how many there are.

-- Orders with these statuses take places of their tier.

CREATE OR REPLACE FUNCTION takes_places(p_status text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT p_status IN ('PENDING', 'APPROVED', 'PAID')
$$;

-- An order or a recurring gift of a tier is for the collective of the tier, or for the parent of its event; the
-- tier is open, and the amount is its price. The tier is locked: of many who buy the last place at once, one gets it.
-- What changes within its tier needs no open one. Recurring gifts that go on take places, their orders do not.

CREATE OR REPLACE FUNCTION require_places(
    p_tier uuid, p_quantity integer, p_amount bigint, p_currency text, p_from uuid, p_to uuid, p_event uuid,
    p_interval text, p_gift uuid, p_is_new boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_tier tier; v_owner collective; v_taken bigint;
BEGIN
    SELECT * INTO v_tier FROM tier t WHERE t.id = p_tier FOR NO KEY UPDATE;
    SELECT * INTO v_owner FROM collective c WHERE c.id = v_tier.collective_id;
    IF (CASE v_owner.type WHEN 'EVENT' THEN (v_owner.parent_id, v_owner.id) IS DISTINCT FROM (p_to, p_event)
        ELSE v_owner.id <> p_to END) OR v_tier.currency <> p_currency THEN
        RAISE EXCEPTION 'an order of a tier is for the collective of the tier, in its currency'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tier_of_payee';
    END IF;
    IF p_is_new AND (v_tier.archived_at IS NOT NULL OR v_tier.opens_at > now() OR v_tier.closes_at <= now()
       OR v_owner.archived_at IS NOT NULL OR v_owner.cancelled_at IS NOT NULL OR v_owner.ends_at <= now()) THEN
        RAISE EXCEPTION 'the tier is closed'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tier_open';
    END IF;
    IF p_is_new AND v_tier.interval IS DISTINCT FROM p_interval
       AND NOT (v_tier.interval IS NULL AND v_tier.type IN ('DONATION', 'MEMBERSHIP')) THEN
        RAISE EXCEPTION 'a gift in a tier repeats as the tier says'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tier_interval';
    END IF;
    IF (CASE v_tier.pricing WHEN 'FIXED' THEN p_amount <> v_tier.amount_minor * p_quantity
        ELSE p_amount < v_tier.minimum_minor * p_quantity END) THEN
        RAISE EXCEPTION 'the amount is not the price of the tier'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tier_price';
    END IF;
    IF v_tier.max_per_person IS NOT NULL THEN
        SELECT coalesce(sum(x.quantity), 0) INTO v_taken FROM (
            SELECT o.quantity FROM "order" o
            WHERE o.tier_id = p_tier AND coalesce(o.claimed_giver_id, o.from_id) = p_from
              AND o.subscription_id IS NULL AND takes_places(o.status)
            UNION ALL
            SELECT s.quantity FROM subscription s
            WHERE s.tier_id = p_tier AND s.from_id = p_from AND s.id IS DISTINCT FROM p_gift
              AND subscription_goes_on(s.status)) x;
        IF v_taken + p_quantity > v_tier.max_per_person THEN
            RAISE EXCEPTION 'the tier is limited for each person'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'tier_max_per_person';
        END IF;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION take_subscription_places(p_row subscription, p_is_new boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM require_places(p_row.tier_id, p_row.quantity, p_row.amount_minor, p_row.currency, p_row.from_id,
                           p_row.to_id, NULL, p_row.interval, p_row.id, p_is_new);
    UPDATE tier SET sold = sold + p_row.quantity WHERE id = p_row.tier_id;
END $$;

-- A ticket registers its holder by name.

CREATE OR REPLACE FUNCTION require_no_ticket(p_tier uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM tier t WHERE t.id = p_tier AND t.type = 'TICKET') THEN
        RAISE EXCEPTION 'a ticket is not given incognito: it registers its holder'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'incognito_registration';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION order_tier_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.is_incognito THEN
        PERFORM require_no_ticket(NEW.tier_id);
    END IF;
    PERFORM require_places(NEW.tier_id, NEW.quantity, NEW.amount, NEW.currency,
                           coalesce(NEW.claimed_giver_id, NEW.from_id), NEW.to_id, NEW.event_id,
                           NULL, NULL, true);
    IF takes_places(NEW.status) THEN
        UPDATE tier SET sold = sold + NEW.quantity WHERE id = NEW.tier_id;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER order_tier_guard BEFORE INSERT ON "order"
FOR EACH ROW WHEN (NEW.tier_id IS NOT NULL AND NEW.subscription_id IS NULL) EXECUTE FUNCTION order_tier_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER order_tier_guard;

-- An order that is closed or refunded gives its places back.

CREATE OR REPLACE FUNCTION free_tier_places() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE tier SET sold = sold - NEW.quantity WHERE id = NEW.tier_id;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER free_tier_places AFTER UPDATE ON "order" FOR EACH ROW
WHEN (NEW.tier_id IS NOT NULL AND NEW.subscription_id IS NULL AND OLD.status IN ('PENDING', 'APPROVED', 'PAID')
      AND NEW.status NOT IN ('PENDING', 'APPROVED', 'PAID')) EXECUTE FUNCTION free_tier_places();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER free_tier_places;

-- A tier is in the currency of its collective, an event's in that of its parent. It belongs to an open collective
-- that is no person, and has sold nothing yet.

CREATE OR REPLACE FUNCTION tier_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.sold <> 0 OR NOT EXISTS (
        SELECT FROM collective c LEFT JOIN collective p ON p.id = c.parent_id AND c.type = 'EVENT'
        WHERE c.id = NEW.collective_id AND c.archived_at IS NULL AND c.type <> 'USER'
          AND coalesce(p.currency, c.currency) = NEW.currency) THEN
        RAISE EXCEPTION 'a tier belongs to an open collective, in its currency'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tier_of_collective';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER tier_guard BEFORE INSERT ON tier FOR EACH ROW EXECUTE FUNCTION tier_guard();
ALTER TABLE tier ENABLE ALWAYS TRIGGER tier_guard;

REVOKE ALL ON FUNCTION takes_places(text), require_no_ticket(uuid), order_tier_guard(), take_subscription_places(subscription, boolean),
    require_places(uuid, integer, bigint, text, uuid, uuid, uuid, text, uuid, boolean), free_tier_places(), tier_guard()
    FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION takes_places(text) TO commonweal_app;
