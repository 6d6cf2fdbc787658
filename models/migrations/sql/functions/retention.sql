-- What is deleted once it is old. The application's role has no right to delete these rows: it calls
-- retention_prune, which keeps them at least as long as they are needed, whatever the settings say.

-- Deletes at most `p_limit` rows of a kind that ended before `p_keep`, the oldest first; returns how many. Rows that
-- others have locked stay for the next call.
CREATE OR REPLACE FUNCTION retention_prune(p_what text, p_keep interval, p_limit integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_deleted integer; v_more integer := 0; v_before timestamptz := now() - greatest(p_keep, interval '0');
BEGIN
    IF p_what = 'MAILS' THEN
        -- Budgets count the mails of a day.
        DELETE FROM outbox WHERE id IN (
            SELECT o.id FROM outbox o
            WHERE o.created_at < least(v_before, now() - interval '2 days')
              AND (o.delivered_at IS NOT NULL OR o.failed_at IS NOT NULL)
            ORDER BY o.created_at LIMIT p_limit FOR UPDATE SKIP LOCKED);
    ELSIF p_what = 'IDEMPOTENCY_KEYS' THEN
        DELETE FROM idempotency WHERE (actor_id, key) IN (
            SELECT i.actor_id, i.key FROM idempotency i
            WHERE i.created_at < least(v_before, now() - interval '7 days')
            ORDER BY i.created_at LIMIT p_limit FOR UPDATE SKIP LOCKED);
    ELSIF p_what = 'TOKENS' THEN
        -- Those that others were made with, or in which an address changes, go after these.
        DELETE FROM token WHERE id IN (
            SELECT t.id FROM token t
            WHERE (t.expires_at < least(v_before, now() - interval '1 day')
                   OR t.revoked_at < least(v_before, now() - interval '1 day'))
              AND NOT EXISTS (SELECT FROM token child WHERE child.parent_id = t.id)
              AND NOT EXISTS (SELECT FROM email_change c WHERE c.session_id = t.id)
              AND NOT EXISTS (SELECT FROM provider_sign_in p WHERE p.session_id = t.id)
            LIMIT p_limit FOR UPDATE SKIP LOCKED);
    ELSIF p_what = 'MAILED_LINKS' THEN
        DELETE FROM email_token WHERE token_hash IN (
            SELECT e.token_hash FROM email_token e WHERE e.expires_at < v_before
            ORDER BY e.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED);
    ELSIF p_what = 'CHALLENGES' THEN
        DELETE FROM challenge WHERE challenge_hash IN (
            SELECT c.challenge_hash FROM challenge c WHERE c.expires_at < v_before
            ORDER BY c.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED);
        GET DIAGNOSTICS v_more = ROW_COUNT;
        DELETE FROM provider_sign_in WHERE state_hash IN (
            SELECT p.state_hash FROM provider_sign_in p WHERE p.expires_at < v_before
            ORDER BY p.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED);
    ELSIF p_what = 'THROTTLES' THEN
        DELETE FROM throttle WHERE key IN (
            SELECT t.key FROM throttle t WHERE t.window_ends_at < v_before
            ORDER BY t.window_ends_at LIMIT p_limit FOR UPDATE SKIP LOCKED);
    ELSE
        RAISE EXCEPTION '% is no kind of rows that are pruned', p_what USING ERRCODE = 'invalid_parameter_value';
    END IF;
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    RETURN v_deleted + v_more;
END $$;

-- A key that may still be sent again stays, whoever deletes.
CREATE OR REPLACE FUNCTION idempotency_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'DELETE refused: a key is kept for a week'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'append_only', TABLE = TG_TABLE_NAME;
END $$;

CREATE OR REPLACE TRIGGER idempotency_guard BEFORE DELETE ON idempotency
FOR EACH ROW WHEN (OLD.created_at > now() - interval '7 days') EXECUTE FUNCTION idempotency_guard();
ALTER TABLE idempotency ENABLE ALWAYS TRIGGER idempotency_guard;

REVOKE ALL ON FUNCTION retention_prune(text, interval, integer), idempotency_guard() FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION retention_prune(text, interval, integer) TO commonweal_app;
