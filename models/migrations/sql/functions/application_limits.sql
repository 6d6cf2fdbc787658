-- Limits of what the application's role may do to rows that it may write. They hold for every writer.

-- The platform stays the platform.

CREATE OR REPLACE FUNCTION platform_fixed_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the platform of an installation never changes'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'platform_fixed';
END $$;

CREATE OR REPLACE TRIGGER platform_fixed_guard BEFORE UPDATE OF is_platform ON collective
FOR EACH ROW WHEN (OLD.is_platform <> NEW.is_platform) EXECUTE FUNCTION platform_fixed_guard();
ALTER TABLE collective ENABLE ALWAYS TRIGGER platform_fixed_guard;

-- A collective leaves no balance behind in the book of the host that it leaves, and changes its currency only
-- while it and its book have no money. Checked at commit: a move takes the balance along after the change.

CREATE OR REPLACE FUNCTION collective_money_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM ledger_account a
        WHERE a.owner_id = NEW.id AND a.kind = 'BALANCE' AND (a.posted <> 0 OR a.held <> 0)
          AND (OLD.currency <> NEW.currency
               OR OLD.host_id IS DISTINCT FROM NEW.host_id AND a.book_id = OLD.host_id))
       OR OLD.currency <> NEW.currency AND EXISTS (
        SELECT FROM ledger_account a WHERE a.book_id = NEW.id AND (a.posted <> 0 OR a.held <> 0)) THEN
        RAISE EXCEPTION 'host and currency cannot change while there is a balance'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'collective_without_balance';
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS collective_money_guard ON collective;
CREATE CONSTRAINT TRIGGER collective_money_guard AFTER UPDATE OF host_id, currency ON collective
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (OLD.host_id IS DISTINCT FROM NEW.host_id OR OLD.currency <> NEW.currency)
EXECUTE FUNCTION collective_money_guard();
ALTER TABLE collective ENABLE ALWAYS TRIGGER collective_money_guard;

-- An archived nonprofit is not approved to issue currents.

CREATE OR REPLACE FUNCTION issuer_open_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'an archived nonprofit cannot be approved to issue currents'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'issuer_open';
END $$;

CREATE OR REPLACE TRIGGER issuer_open_guard BEFORE UPDATE OF issuer_approved_at ON collective
FOR EACH ROW WHEN (OLD.issuer_approved_at IS NULL AND NEW.issuer_approved_at IS NOT NULL
                   AND NEW.archived_at IS NOT NULL)
EXECUTE FUNCTION issuer_open_guard();
ALTER TABLE collective ENABLE ALWAYS TRIGGER issuer_open_guard;

-- The hold of an order is released when the order no longer needs it. Checked at commit: a payment may change
-- the status first, or release the hold first.

CREATE OR REPLACE FUNCTION hold_release_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM "order" o
               WHERE o.id = NEW.order_id
                 AND (o.type = 'EXPENSE' AND o.status = 'APPROVED'
                      OR o.type = 'CASH_OUT' AND o.status IN ('PENDING', 'APPROVED')
                      OR o.type = 'REDEMPTION' AND o.status = 'PENDING'))
       AND NOT EXISTS (SELECT FROM hold h WHERE h.order_id = NEW.order_id AND h.released_at IS NULL) THEN
        RAISE EXCEPTION 'an open order keeps its hold'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_of_open_order';
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS hold_release_guard ON hold;
CREATE CONSTRAINT TRIGGER hold_release_guard AFTER UPDATE ON hold
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.released_at IS NOT NULL)
EXECUTE FUNCTION hold_release_guard();
ALTER TABLE hold ENABLE ALWAYS TRIGGER hold_release_guard;

REVOKE ALL ON FUNCTION platform_fixed_guard(), collective_money_guard(), issuer_open_guard(), hold_release_guard()
    FROM PUBLIC, commonweal_app;
