-- Append-only tables: history is added to, never changed.
--
-- The triggers fire for everyone, including the tables' owner and replication sessions (ENABLE ALWAYS).

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME IN ('order_action', 'transaction', 'act') AND is_erasing() THEN
        RETURN NULL;  -- erased_text_guard says what of it changes
    END IF;
    RAISE EXCEPTION '% refused: % is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'append_only', TABLE = TG_TABLE_NAME;
END $$;

DO $$
DECLARE t text;
BEGIN
    -- Rows are never changed.
    FOREACH t IN ARRAY ARRAY['transaction', 'posting', 'order_action', 'fx_rate', 'platform_policy',
                             'issuance_cap', 'merge_consent', 'audit_run', 'settlement', 'act', 'act_subject',
                             'approval_policy'] LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', t);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', t);
    END LOOP;
    -- Rows may change, but stay.
    FOREACH t IN ARRAY ARRAY['collective', 'order', 'ledger_account', 'hold', 'refund_total', 'currency',
                             'offer', 'receipt', 'redemption', 'attendance', 'approval', 'tier', 'goal',
                             'raised_total', 'subscription'] LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', t);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER never_deleted', t);
    END LOOP;
END $$;

-- live_prune deletes old events, retention_prune old keys.
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON live_event
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE live_event ENABLE ALWAYS TRIGGER append_only;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON idempotency
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE idempotency ENABLE ALWAYS TRIGGER append_only;

REVOKE ALL ON FUNCTION refuse_change() FROM PUBLIC, commonweal_app;
