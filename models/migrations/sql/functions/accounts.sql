-- No token for a suspended person, whoever asks for it and however late.

CREATE OR REPLACE FUNCTION token_suspension_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM collective WHERE id = NEW.user_id FOR KEY SHARE;  -- waits for a suspension under way
    IF EXISTS (SELECT FROM suspension WHERE user_id = NEW.user_id AND ended_at IS NULL) THEN
        RAISE EXCEPTION 'user % is suspended', NEW.user_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'token_user_not_suspended';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER token_suspension_guard BEFORE INSERT ON token
FOR EACH ROW EXECUTE FUNCTION token_suspension_guard();
ALTER TABLE token ENABLE ALWAYS TRIGGER token_suspension_guard;

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

REVOKE ALL ON FUNCTION token_suspension_guard(), token_revoked_guard() FROM PUBLIC, commonweal_app;
