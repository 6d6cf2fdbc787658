-- Guards of orders.

-- The transitions of an order's status. A redemption moves its currents at approval: from then on it is paid
-- or refunded.

CREATE OR REPLACE FUNCTION order_status_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (OLD.status, NEW.status) IN (
        ('PENDING', 'APPROVED'), ('PENDING', 'REJECTED'), ('PENDING', 'PAID'), ('PENDING', 'CANCELLED'),
        ('PENDING', 'EXPIRED'), ('PENDING', 'FAILED'), ('APPROVED', 'PAID'), ('APPROVED', 'REJECTED'),
        ('APPROVED', 'CANCELLED'), ('APPROVED', 'FAILED'), ('PAID', 'REFUNDED'))
       OR NEW.type = 'REDEMPTION' AND OLD.status = 'APPROVED' AND NEW.status <> 'PAID' THEN
        RAISE EXCEPTION 'the status of an order cannot change from % to %', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'order_status_transition';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER order_status_guard BEFORE UPDATE ON "order"
FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION order_status_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER order_status_guard;

-- The two sides of a new order: neither is archived or an event (events hold members, not money); a user
-- known by email alone cannot spend; only an approved nonprofit issues currents. The lock makes archiving and
-- a new order wait for each other.

CREATE OR REPLACE FUNCTION order_sides_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE side record;
BEGIN
    -- Tested in the loop: a WHERE condition would be tested before the statement waits for the lock.
    FOR side IN SELECT c.id, c.type, c.currency, c.archived_at, c.claimed_at, c.issuer_approved_at, c.is_platform
                FROM collective c WHERE c.id IN (NEW.from_id, NEW.to_id) ORDER BY c.id FOR SHARE LOOP
        CONTINUE WHEN NEW.import_key IS NOT NULL;
        IF side.archived_at IS NOT NULL OR side.type = 'EVENT' THEN
            RAISE EXCEPTION 'both sides of an order must be open and able to hold money'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_sides_open';
        END IF;
        IF side.id = NEW.from_id AND side.type = 'USER' AND side.claimed_at IS NULL
           AND NEW.type IN ('DONATION', 'EXPENSE', 'TRANSFER', 'REDEMPTION', 'CASH_OUT') THEN
            RAISE EXCEPTION 'a user known by email alone cannot spend'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_payer_claimed';
        END IF;
        IF side.id = NEW.from_id AND (NEW.type = 'HOURS' AND side.issuer_approved_at IS NULL
                                      OR NEW.type = 'BONUS' AND NOT side.is_platform
                                      OR NEW.type = 'REDEMPTION' AND side.type <> 'USER')
           OR side.id = NEW.to_id AND (NEW.type IN ('HOURS', 'BONUS') AND side.type <> 'USER'
                                       OR NEW.type = 'REDEMPTION' AND side.type <> 'BUSINESS') THEN
            RAISE EXCEPTION 'currents go from an approved nonprofit to a user, and from a user to a business'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_currents_sides';
        END IF;
        -- Under the lock, the currency cannot change between building the order and inserting it.
        IF side.id = NEW.to_id AND NEW.currency <> side.currency
           AND (NEW.type IN ('ADDED_FUNDS', 'EXPENSE') OR NEW.type IN ('DONATION', 'TRANSFER')
                AND NEW.currency <> 'CUR') THEN
            RAISE EXCEPTION 'an order must be in the currency of its payee'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_currency';
        END IF;
    END LOOP;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER order_sides_guard BEFORE INSERT ON "order"
FOR EACH ROW EXECUTE FUNCTION order_sides_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER order_sides_guard;

-- Hours that end at check-out are shortened then, never extended, and never once they are decided.

CREATE OR REPLACE FUNCTION order_end_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status <> 'PENDING' OR NEW.ends_at IS NULL OR NEW.ends_at > OLD.ends_at THEN
        RAISE EXCEPTION 'the end of hours can only be moved earlier, while they are pending'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'order_end_moves_back';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER order_end_guard BEFORE UPDATE OF ends_at ON "order"
FOR EACH ROW WHEN (OLD.ends_at IS DISTINCT FROM NEW.ends_at) EXECUTE FUNCTION order_end_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER order_end_guard;

-- Nobody approves or pays out an order that they created for themselves.

CREATE OR REPLACE FUNCTION approval_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE o record;
BEGIN
    SELECT x.type, x.from_id, x.to_id, x.created_by_id INTO o FROM "order" x WHERE x.id = NEW.order_id;
    IF NEW.type = 'APPROVE' AND (o.type = 'HOURS' AND NEW.actor_id = o.to_id
                                 OR o.type = 'EXPENSE' AND NEW.actor_id IN (o.to_id, o.created_by_id))
       OR o.type IN ('REDEMPTION', 'CASH_OUT') AND NEW.actor_id = o.from_id THEN
        RAISE EXCEPTION 'nobody may approve an order that they created for themselves'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'approved_by_another';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER approval_guard BEFORE INSERT ON order_action
FOR EACH ROW WHEN (NEW.type IN ('APPROVE', 'PAY')) EXECUTE FUNCTION approval_guard();
ALTER TABLE order_action ENABLE ALWAYS TRIGGER approval_guard;

REVOKE ALL ON FUNCTION order_status_guard(), order_sides_guard(), order_end_guard(), approval_guard()
    FROM PUBLIC, commonweal_app;
