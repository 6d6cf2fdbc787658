-- What collectives and tiers raise is added up as it is posted.

-- Adds a gift to what its payee and its tier raised, and takes a refund of one off. ledger_post writes the transaction
-- last, when the payee's account is locked already: the row of the payee makes nobody wait who would not wait anyway.
CREATE OR REPLACE FUNCTION count_raised() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_kind text := NEW.kind; v_to uuid := NEW.to_collective_id; v_tier uuid;
BEGIN
    IF NEW.refund_of_id IS NOT NULL THEN
        SELECT t.kind, t.to_collective_id INTO v_kind, v_to FROM transaction t WHERE t.id = NEW.refund_of_id;
    END IF;
    IF v_kind = 'DONATION' THEN
        SELECT o.tier_id INTO v_tier FROM "order" o WHERE o.id = NEW.order_id;
    ELSIF v_kind <> 'ADDED_FUNDS' THEN
        RETURN NULL;
    END IF;
    IF NEW.refund_of_id IS NOT NULL THEN
        UPDATE raised_total r SET raised_minor = r.raised_minor + NEW.amount
        WHERE r.subject_id IN (v_to, v_tier) AND r.currency = NEW.currency;
        RETURN NULL;
    END IF;
    INSERT INTO raised_total AS r (subject_id, currency, raised_minor)
    SELECT v_to, NEW.currency, NEW.amount WHERE v_to IS NOT NULL
    UNION ALL SELECT v_tier, NEW.currency, NEW.amount WHERE v_tier IS NOT NULL
    ON CONFLICT (subject_id, currency) DO UPDATE SET raised_minor = r.raised_minor + excluded.raised_minor;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER count_raised AFTER INSERT ON transaction FOR EACH ROW
WHEN (NEW.kind IN ('DONATION', 'ADDED_FUNDS', 'REFUND')) EXECUTE FUNCTION count_raised();
ALTER TABLE transaction ENABLE ALWAYS TRIGGER count_raised;

REVOKE ALL ON FUNCTION count_raised() FROM PUBLIC, commonweal_app;
