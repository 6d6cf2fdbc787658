-- No token for a suspended or archived person, whoever asks for it and however late, and no sign-in that waits
-- for a factor.

CREATE OR REPLACE FUNCTION token_user_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_archived_at timestamptz;
BEGIN
    -- Waits for a suspension, archiving or merge under way.
    SELECT c.archived_at INTO v_archived_at FROM collective c WHERE c.id = NEW.user_id FOR KEY SHARE;
    IF v_archived_at IS NOT NULL THEN
        RAISE EXCEPTION 'an archived user cannot sign in'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'token_user_not_archived';
    END IF;
    IF EXISTS (SELECT FROM suspension WHERE user_id = NEW.user_id AND ended_at IS NULL) THEN
        RAISE EXCEPTION 'user % is suspended', NEW.user_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'token_user_not_suspended';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER token_user_guard BEFORE INSERT ON token
FOR EACH ROW EXECUTE FUNCTION token_user_guard();
ALTER TABLE token ENABLE ALWAYS TRIGGER token_user_guard;

CREATE OR REPLACE TRIGGER challenge_user_guard BEFORE INSERT ON challenge
FOR EACH ROW WHEN (NEW.user_id IS NOT NULL) EXECUTE FUNCTION token_user_guard();
ALTER TABLE challenge ENABLE ALWAYS TRIGGER challenge_user_guard;

-- A token that was revoked stays revoked.

CREATE OR REPLACE FUNCTION token_revoked_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'token % was revoked', OLD.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'token_revoked_for_good';
END $$;

CREATE OR REPLACE TRIGGER token_revoked_guard BEFORE UPDATE OF revoked_at ON token
FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS NULL) EXECUTE FUNCTION token_revoked_guard();
ALTER TABLE token ENABLE ALWAYS TRIGGER token_revoked_guard;

REVOKE ALL ON FUNCTION token_user_guard(), token_revoked_guard() FROM PUBLIC, commonweal_app;
