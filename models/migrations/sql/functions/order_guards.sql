-- Guards of orders.

-- The transitions of an order's status. A redemption moves its currents at approval: from then on it is only
-- paid. An approved expense that is edited is pending again, with no amount approved. What was refused for a
-- recurring gift is tried again.

CREATE OR REPLACE FUNCTION order_status_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT (CASE OLD.status
            WHEN 'PENDING' THEN NEW.status IN ('APPROVED', 'REJECTED', 'PAID', 'CANCELLED', 'EXPIRED', 'FAILED')
            WHEN 'APPROVED' THEN NEW.status IN ('PAID', 'REJECTED', 'CANCELLED', 'FAILED', 'PENDING')
            WHEN 'PAID' THEN NEW.status = 'REFUNDED'
            WHEN 'FAILED' THEN NEW.status IN ('PAID', 'PENDING')
            ELSE false END)
       OR OLD.status = 'FAILED' AND NEW.subscription_id IS NULL
       OR NEW.type = 'REDEMPTION' AND OLD.status = 'APPROVED' AND NEW.status <> 'PAID'
       OR NEW.status = 'PENDING' AND OLD.status <> 'FAILED'
          AND (NEW.type <> 'EXPENSE' OR NEW.approved_amount IS NOT NULL) THEN
        RAISE EXCEPTION 'the status of an order cannot change from % to %', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'order_status_transition';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER order_status_guard BEFORE UPDATE ON "order"
FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION order_status_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER order_status_guard;

-- An expense is in the currency of its payee, its payer or the payer's host. Only a user is paid into a balance
-- of another currency than its own.

CREATE OR REPLACE FUNCTION order_currency_allowed(p_order "order") RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT p_order.type <> 'EXPENSE' OR EXISTS (
        SELECT FROM collective t JOIN collective f ON f.id = p_order.from_id
        LEFT JOIN collective h ON h.id = f.host_id
        WHERE t.id = p_order.to_id
          AND (p_order.currency = t.currency
               OR p_order.currency IN (f.currency, h.currency)
               AND (t.type = 'USER' OR p_order.payout_method_kind IS DISTINCT FROM 'BALANCE')))
$$;

-- True if funds in the giver's name must be confirmed: the giver can be asked, and the actor is no ADMIN of it.

CREATE OR REPLACE FUNCTION giver_must_confirm(p_giver uuid, p_actor uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM collective c WHERE c.id = p_giver
          AND CASE WHEN c.type = 'USER' THEN c.claimed_at IS NOT NULL AND c.id IS DISTINCT FROM p_actor
              ELSE EXISTS (SELECT FROM member m
                           WHERE m.collective_id = c.id AND m.role = 'ADMIN' AND m.until IS NULL)
                   AND NOT EXISTS (SELECT FROM member m
                                   WHERE m.collective_id = c.id AND m.member_id = p_actor AND m.role = 'ADMIN'
                                     AND m.until IS NULL) END)
$$;

-- The two sides of a new order: neither is archived or an event (events hold members, not money); a user
-- known by email alone cannot spend; only an approved nonprofit issues currents; a giver who can be asked is
-- not named before confirming. The lock makes archiving and a new order wait for each other.

CREATE OR REPLACE FUNCTION order_sides_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE side record;
BEGIN
    -- Tested in the loop: a WHERE condition would be tested before the statement waits for the lock.
    FOR side IN SELECT c.id, c.type, c.currency, c.archived_at, c.claimed_at, c.issuer_approved_at, c.is_platform,
                       c.host_id, c.host_approved_at
                FROM collective c WHERE c.id IN (NEW.from_id, NEW.to_id) ORDER BY c.id FOR SHARE LOOP
        -- Imported history may be of a side that was archived or merged since.
        IF side.type = 'EVENT' OR side.archived_at IS NOT NULL AND NEW.import_key IS NULL THEN
            RAISE EXCEPTION 'both sides of an order must be open and able to hold money'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_sides_open';
        END IF;
        IF side.id = NEW.from_id AND side.type = 'USER' AND side.claimed_at IS NULL AND NEW.import_key IS NULL
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
        IF NEW.type = 'SETTLEMENT' AND (side.host_id IS DISTINCT FROM side.id OR side.host_approved_at IS NULL) THEN
            RAISE EXCEPTION 'a settlement is between two approved hosts'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'settlement_of_hosts';
        END IF;
        -- Under the lock, the currency cannot change between building the order and inserting it.
        IF side.id = NEW.to_id AND NEW.currency <> side.currency AND NEW.import_key IS NULL
           AND (NEW.type IN ('ADDED_FUNDS', 'SETTLEMENT') OR NEW.type IN ('DONATION', 'TRANSFER') AND NEW.currency <> 'CUR') THEN
            RAISE EXCEPTION 'an order must be in the currency of its payee'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'order_currency';
        END IF;
    END LOOP;
    IF NEW.is_incognito AND NOT EXISTS (SELECT FROM collective c WHERE c.id = coalesce(NEW.claimed_giver_id, NEW.from_id)
                                        AND c.type = 'USER') THEN
        RAISE EXCEPTION 'only a person gives incognito'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'incognito_person';
    END IF;
    IF NEW.import_key IS NOT NULL
       AND (NEW.status NOT IN ('PAID', 'REFUNDED')
            OR NEW.type NOT IN ('DONATION', 'ADDED_FUNDS', 'EXPENSE', 'TRANSFER')) THEN
        RAISE EXCEPTION 'an imported order is a settled one of money'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'order_imported_settled';
    END IF;
    IF NEW.import_key IS NULL AND NOT order_currency_allowed(NEW) THEN
        RAISE EXCEPTION 'an expense must be in the currency of its payee, its payer or the payer''s host'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'expense_currency';
    END IF;
    IF NEW.type IN ('ADDED_FUNDS', 'DONATION') AND NEW.import_key IS NULL
       AND (NEW.type = 'ADDED_FUNDS' AND NOT NEW.origin_unknown AND giver_must_confirm(NEW.from_id, NEW.created_by_id)
            OR NEW.type = 'DONATION' AND NEW.origin_unknown AND NEW.claimed_giver_id IS NULL
            OR NEW.claimed_giver_id IS NOT NULL
               AND (NOT NEW.origin_unknown OR NEW.giver_status <> 'WAITING'
                    OR NEW.from_id IS DISTINCT FROM (SELECT c.host_id FROM collective c WHERE c.id = NEW.to_id))) THEN
        RAISE EXCEPTION 'funds are added in a giver''s name only once the giver confirms'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'giver_confirms';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER order_sides_guard BEFORE INSERT ON "order"
FOR EACH ROW EXECUTE FUNCTION order_sides_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER order_sides_guard;

-- Hours that end at check-out are shortened then, never extended, and never once they are decided.

CREATE OR REPLACE FUNCTION order_end_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
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

-- The terms of an order never change, but for those of a pending expense, which its payee may edit; the giver of
-- added funds, once the giver confirms; and how a recurring gift is paid after a refusal. Items always add up to
-- the amount; settled_amount_guard asks that of an amount that is approved.
-- The trigger names what it compares: a step of an order, which sets none of it, does not call it.

CREATE OR REPLACE FUNCTION order_terms_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.description IS NULL AND NEW.private_message IS NULL AND NEW.status = OLD.status AND is_erasing()
       AND to_jsonb(OLD) - '{description,private_message}'::text[] = to_jsonb(NEW) - '{description,private_message}'::text[] THEN
        RETURN NEW;
    END IF;
    IF (OLD.id, OLD.type, OLD.to_id, OLD.currency, OLD.created_by_id, OLD.created_at, OLD.claimed_giver_id,
        OLD.tip, OLD.is_incognito, OLD.tier_id, OLD.quantity, OLD.subscription_id, OLD.period)
       IS DISTINCT FROM
       (NEW.id, NEW.type, NEW.to_id, NEW.currency, NEW.created_by_id, NEW.created_at, NEW.claimed_giver_id,
        NEW.tip, NEW.is_incognito, NEW.tier_id, NEW.quantity, NEW.subscription_id, NEW.period)
       OR (OLD.payment_method_kind, OLD.payment_method_id)
          IS DISTINCT FROM (NEW.payment_method_kind, NEW.payment_method_id)
       AND (OLD.status <> 'FAILED' OR NEW.subscription_id IS NULL)
       OR (OLD.from_id, OLD.origin_unknown, OLD.giver_status)
          IS DISTINCT FROM (NEW.from_id, NEW.origin_unknown, NEW.giver_status)
       -- Most orders have no status of a giver: NOT of an unknown is unknown, and would let the change pass.
       AND (OLD.giver_status = 'WAITING'
            AND (NEW.giver_status = 'DENIED' AND NEW.from_id = OLD.from_id AND NEW.origin_unknown
                 OR NEW.giver_status = 'CONFIRMED' AND NEW.from_id = OLD.claimed_giver_id
                 AND NOT NEW.origin_unknown)) IS NOT TRUE
       OR (OLD.amount, OLD.description, OLD.payout_method_kind, OLD.payout_method_id, OLD.receipts,
           OLD.host_fee_bps)
          IS DISTINCT FROM (NEW.amount, NEW.description, NEW.payout_method_kind, NEW.payout_method_id,
                            NEW.receipts, NEW.host_fee_bps)
       AND (NEW.type = 'EXPENSE' AND OLD.status = 'PENDING' AND NEW.status = 'PENDING'
            AND order_currency_allowed(NEW)) IS NOT TRUE THEN
        RAISE EXCEPTION 'the terms of an order cannot change'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'order_terms';
    END IF;
    IF NEW.type = 'EXPENSE' AND NEW.amount <> OLD.amount
       AND EXISTS (SELECT FROM order_item i WHERE i.order_id = NEW.id
                   HAVING sum(i.amount) <> coalesce(NEW.approved_amount, NEW.amount)) THEN
        RAISE EXCEPTION 'the items of an expense add up to its amount'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'expense_items_add_up';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER order_terms_guard BEFORE UPDATE OF
    id, type, from_id, to_id, currency, amount, description, receipts, host_fee_bps, origin_unknown, giver_status,
    claimed_giver_id, created_by_id, created_at, payment_method_kind, payment_method_id, payout_method_kind,
    payout_method_id, tip, is_incognito, tier_id, quantity, subscription_id, period
ON "order" FOR EACH ROW EXECUTE FUNCTION order_terms_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER order_terms_guard;

-- The items of an expense add up to its amount, after each statement that writes them. They change only while
-- it is pending, all at once.

CREATE OR REPLACE FUNCTION order_item_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND is_erasing() THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM (SELECT DISTINCT c.order_id FROM changed c) c JOIN "order" o ON o.id = c.order_id
               WHERE (o.type <> 'EXPENSE' OR o.status <> 'PENDING') AND o.import_key IS NULL
                  OR o.amount <> (SELECT coalesce(sum(i.amount), o.amount) FROM order_item i
                                  WHERE i.order_id = o.id)) THEN
        RAISE EXCEPTION 'the items of an expense change while it is pending, and add up to its amount'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'expense_items_add_up';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER order_item_insert_guard AFTER INSERT ON order_item
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION order_item_guard();
CREATE OR REPLACE TRIGGER order_item_update_guard AFTER UPDATE ON order_item
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION order_item_guard();
CREATE OR REPLACE TRIGGER order_item_delete_guard AFTER DELETE ON order_item
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION order_item_guard();
ALTER TABLE order_item ENABLE ALWAYS TRIGGER order_item_insert_guard;
ALTER TABLE order_item ENABLE ALWAYS TRIGGER order_item_update_guard;
ALTER TABLE order_item ENABLE ALWAYS TRIGGER order_item_delete_guard;

-- A payout's fee is at most a tenth of the amount or 50 units of the host's currency, whichever is larger.
-- transaction_guard calls it.

CREATE OR REPLACE FUNCTION payout_fee_guard(new transaction) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_from int; v_to int;
BEGIN
    IF NEW.payment_processor_fee = 0 THEN
        RETURN;
    END IF;
    SELECT f.exponent, t.exponent INTO v_from, v_to FROM currency f, currency t
    WHERE f.code = NEW.currency AND t.code = NEW.host_currency;
    IF NEW.payment_processor_fee > greatest(
           round(round(NEW.amount * NEW.fx_rate * 10::numeric ^ (v_to - v_from)) * 0.1), 50 * 10::numeric ^ v_to)
       AND NOT EXISTS (SELECT FROM "order" o WHERE o.id = NEW.order_id AND o.import_key IS NOT NULL) THEN
        RAISE EXCEPTION 'the fee of a payout is too high'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payout_fee_limit';
    END IF;
END $$;

-- Who decides -------------------------------------------------------------------------------------------

-- True if the collective, which decides the order, has an ADMIN who can act and has no interest in it; where two
-- people have to approve it, one who has not approved it yet.

CREATE OR REPLACE FUNCTION has_free_admin(p_order "order", p_collective uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM collective c
        WHERE (c.id = p_collective OR c.id IN (SELECT m.member_id FROM member m WHERE m.collective_id = p_collective
                                               AND m.role = 'ADMIN' AND m.until IS NULL))
          AND can_act(c.id) AND NOT has_interest(p_order, c.id)
          AND (p_order.amount + coalesce(p_order.tip, 0) > single_approval_limit(p_order) AND c.id IN (SELECT approvers(p_order))) IS NOT TRUE)
$$;

-- True if the person may not approve the order. A host's only ADMINs may confirm the receipt of their own gift
-- or settlement.

CREATE OR REPLACE FUNCTION approval_excluded(p_order "order", p_person uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT has_interest(p_order, p_person) THEN
        RETURN false;
    END IF;
    RETURN p_order.type NOT IN ('DONATION', 'SETTLEMENT')
        OR has_free_admin(p_order, (SELECT c.host_id FROM collective c WHERE c.id = p_order.to_id));
END $$;

-- Nobody approves an order in which they have an interest, or pays or refunds money to themselves. Nobody at all,
-- which is the server, decides only what comes from a file, is a bonus, was paid through a provider, or is an
-- attendance whose event has ended; and it pays a recurring gift from the balance of its payer, who agreed to that
-- when the gift began. A comparison with nobody is neither true nor false, and would let everything pass.

CREATE OR REPLACE FUNCTION approval_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE o "order";
BEGIN
    SELECT x.* INTO o FROM "order" x WHERE x.id = NEW.order_id;
    -- Apart, so that an approval by somebody does not start the queries of the condition.
    IF NEW.actor_id IS NULL THEN
        IF o.import_key IS NULL AND o.type <> 'BONUS' AND NOT provider_has_paid(o.id)
           AND (NEW.type = 'REFUND' OR NOT EXISTS (SELECT FROM attendance a WHERE a.order_id = o.id))
           AND NOT (NEW.type = 'PAY' AND o.subscription_id IS NOT NULL AND o.payment_method_kind = 'BALANCE') THEN
            RAISE EXCEPTION 'an order is approved, paid and refunded by somebody'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'decided_by_somebody';
        END IF;
    END IF;
    IF NEW.type = 'APPROVE' AND approval_excluded(o, NEW.actor_id)
       OR NEW.type <> 'APPROVE' AND o.type IN ('REDEMPTION', 'CASH_OUT') AND has_interest(o, NEW.actor_id) THEN
        RAISE EXCEPTION 'nobody may approve an order that they created for themselves'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'approved_by_another';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER approval_guard BEFORE INSERT ON order_action
FOR EACH ROW WHEN (NEW.type IN ('APPROVE', 'PAY', 'REFUND')) EXECUTE FUNCTION approval_guard();
ALTER TABLE order_action ENABLE ALWAYS TRIGGER approval_guard;

-- Fail if a conditional UPDATE found no order, because another call was faster. What comes after it, in the same
-- round trip, then does not run.

CREATE OR REPLACE FUNCTION order_must_change(p_count bigint) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF p_count = 0 THEN
        RAISE EXCEPTION 'the order has changed' USING ERRCODE = 'check_violation', CONSTRAINT = 'order_unchanged';
    END IF;
END $$;

REVOKE ALL ON FUNCTION order_status_guard(), order_sides_guard(), order_end_guard(), order_terms_guard(),
    order_item_guard(), payout_fee_guard(transaction), approval_guard(), order_currency_allowed("order"),
    giver_must_confirm(uuid, uuid), has_free_admin("order", uuid), approval_excluded("order", uuid),
    order_must_change(bigint)
    FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION order_currency_allowed("order"), giver_must_confirm(uuid, uuid),
    has_free_admin("order", uuid), approval_excluded("order", uuid), order_must_change(bigint)
    TO commonweal_app;
