-- Guards of settled orders: an order and its transactions say the same.

-- An order is paid or refunded only with the transaction of its kind and amount; a redemption only with that of
-- its dollars, a gift with a tip only with that of the tip. An imported order may have moved nothing but a fee: it
-- has any transaction.

CREATE OR REPLACE FUNCTION paid_order_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM transaction t WHERE t.order_id = NEW.id AND t.refund_of_id IS NULL
        AND (NEW.import_key IS NOT NULL
             OR CASE NEW.type WHEN 'REDEMPTION' THEN t.kind = 'REDEMPTION_PAYOUT'
                ELSE (t.kind = NEW.type OR NEW.type = 'SETTLEMENT' AND t.kind = 'PLATFORM_FEE_SETTLEMENT')
                     AND (t.currency, t.amount) = (NEW.currency, coalesce(NEW.approved_amount, NEW.amount)) END);
    IF FOUND AND NEW.tip IS NOT NULL THEN
        PERFORM FROM transaction t WHERE t.order_id = NEW.id AND t.kind = 'PLATFORM_TIP';
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'an order is paid only with its transaction'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'paid_order_has_transaction';
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS paid_order_guard ON "order";
CREATE CONSTRAINT TRIGGER paid_order_guard AFTER INSERT OR UPDATE OF status ON "order"
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status IN ('PAID', 'REFUNDED'))
EXECUTE FUNCTION paid_order_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER paid_order_guard;

-- A settlement's transaction is what the debtor said it paid: parties, amount, and the debt that it covers.
-- transaction_guard calls it, and the next one.

CREATE OR REPLACE FUNCTION settlement_transaction_guard(new transaction) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM "order" o JOIN settlement s ON s.order_id = o.id JOIN collective t ON t.id = o.to_id
        WHERE o.id = NEW.order_id AND o.type = 'SETTLEMENT'
          AND (o.from_id, o.from_id, o.to_id, o.to_id, o.currency, o.amount, s.paid_minor)
              = (NEW.from_collective_id, NEW.from_host_id, NEW.to_collective_id, NEW.to_host_id, NEW.currency,
                 NEW.amount, -NEW.from_host_amount)
          AND CASE NEW.kind WHEN 'SETTLEMENT' THEN s.covers = 'CLEARING'
              ELSE s.covers = 'PLATFORM_FEES' AND t.is_platform END) THEN
        RAISE EXCEPTION 'a settlement moves what its order says'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'transaction_order';
    END IF;
END $$;

-- A redemption's payout is what its figures say, from the platform to the user.

CREATE OR REPLACE FUNCTION payout_transaction_guard(new transaction) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM "order" o JOIN redemption r ON r.order_id = o.id JOIN collective p ON p.is_platform
        WHERE o.id = NEW.order_id
          AND (p.id, o.from_id, 'USD', r.usd_gross_minor, r.usd_gross_minor, 0, r.usd_fee_minor, 0)
              = (NEW.from_collective_id, NEW.to_collective_id, NEW.currency, NEW.amount, NEW.gross,
                 NEW.payment_processor_fee, NEW.platform_fee, NEW.host_fee)) THEN
        RAISE EXCEPTION 'a payout moves what its redemption says'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'transaction_order';
    END IF;
END $$;

-- The amount of an order whose money or currents have moved never changes, and what is approved of an expense is the
-- sum of its items, nor do the figures of such a redemption.

CREATE OR REPLACE FUNCTION settled_amount_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.status IN ('PAID', 'REFUNDED') OR EXISTS (SELECT FROM transaction t WHERE t.order_id = OLD.id) THEN
        RAISE EXCEPTION 'the amount of a settled order never changes'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'settled_amount';
    END IF;
    IF NEW.type = 'EXPENSE' THEN
        IF NEW.approved_amount <> NEW.amount AND OLD.approved_amount IS NULL
           AND EXISTS (SELECT FROM order_item i WHERE i.order_id = NEW.id HAVING sum(i.amount) <> NEW.approved_amount) THEN
            RAISE EXCEPTION 'the items of an expense add up to its amount'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'expense_items_add_up';
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER settled_amount_guard BEFORE UPDATE OF approved_amount ON "order"
FOR EACH ROW WHEN (NEW.approved_amount IS DISTINCT FROM OLD.approved_amount) EXECUTE FUNCTION settled_amount_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER settled_amount_guard;

CREATE OR REPLACE FUNCTION settled_redemption_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF is_erasing() AND to_jsonb(OLD) - '{place,receipt_text}'::text[] = to_jsonb(NEW) - '{place,receipt_text}'::text[] THEN
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT FROM transaction t WHERE t.order_id = OLD.order_id) THEN
        RAISE EXCEPTION 'the figures of a settled redemption never change'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'settled_amount';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER settled_redemption_guard BEFORE UPDATE ON redemption
FOR EACH ROW EXECUTE FUNCTION settled_redemption_guard();
ALTER TABLE redemption ENABLE ALWAYS TRIGGER settled_redemption_guard;

REVOKE ALL ON FUNCTION paid_order_guard(), settlement_transaction_guard(transaction), payout_transaction_guard(transaction),
    settled_amount_guard(), settled_redemption_guard() FROM PUBLIC, commonweal_app;
