-- Live events: changes that subscribers are told about, written in the transaction of the change and read by
-- every server process.
--
-- ledger_post writes one for each transaction; these triggers write the others. The application's role may
-- read the table and prune it with live_prune; it can neither forge an event nor hide one.

-- The history that this server writes: a failover and a restore begin another. Empty where a server does not tell.

CREATE OR REPLACE FUNCTION server_timeline() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN (SELECT s.system_identifier FROM pg_control_system() s)
        || '/' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8);
EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR object_not_in_prerequisite_state THEN
    RETURN '';
END $$;

-- Orders: created, decided or otherwise changed. Balances include pending amounts, so both sides are named.

CREATE OR REPLACE FUNCTION live_order() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO live_event (kind, node_id, collective_ids)
    SELECT 'ORDER', c.id, ARRAY[c.from_id, c.to_id] FROM changed c ORDER BY c.id;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER live_order_made AFTER INSERT ON "order" REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION live_order();
CREATE OR REPLACE TRIGGER live_order_changed AFTER UPDATE ON "order" REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION live_order();

-- Check-ins and check-outs.

CREATE OR REPLACE FUNCTION live_check_in() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO live_event (kind, node_id, collective_ids)
    SELECT 'CHECK_IN', c.user_id, ARRAY[c.event_id] FROM changed c ORDER BY c.user_id;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER live_checked_in AFTER INSERT ON attendance REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION live_check_in();
CREATE OR REPLACE TRIGGER live_checked_out AFTER UPDATE ON attendance REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION live_check_in();

-- Deletes events older than p_keep, at most 10,000 at a time, and leaves the last of them as the mark. One
-- caller at a time; the others return at once. Events restored from another server's dump carry that server's
-- transaction numbers, which would come up again one day: they are deleted as well.

CREATE OR REPLACE FUNCTION live_prune(p_keep interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_xmin bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint; v_mark record;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7268) THEN
        RETURN;
    END IF;
    DELETE FROM live_event e WHERE e.xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    IF NOT FOUND AND NOT EXISTS (SELECT FROM (SELECT e.at FROM live_event e ORDER BY e.xid, e.id OFFSET 1 LIMIT 1) s
                   WHERE s.at < now() - p_keep) THEN
        RETURN;
    END IF;
    SELECT o.xid, o.id INTO v_mark
    FROM (SELECT e.xid, e.id, e.at FROM live_event e WHERE e.xid < v_xmin ORDER BY e.xid, e.id LIMIT 10001) o
    WHERE o.at < now() - p_keep ORDER BY o.xid DESC, o.id DESC LIMIT 1;
    DELETE FROM live_event e WHERE (e.xid, e.id) < (v_mark.xid, v_mark.id);
    IF NOT EXISTS (SELECT FROM live_event) THEN
        INSERT INTO live_event (kind, node_id, collective_ids)
        VALUES ('START', '00000000-0000-0000-0000-000000000000', '{}');
    END IF;
END $$;

REVOKE ALL ON FUNCTION server_timeline(), live_order(), live_check_in(), live_prune(interval) FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION live_prune(interval), server_timeline() TO commonweal_app;
