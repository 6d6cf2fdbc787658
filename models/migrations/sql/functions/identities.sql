-- An address that its owner gave up is kept for them until they can take it back no more.

CREATE OR REPLACE FUNCTION credential_email_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    -- After the row is written: a change of address under way has then been waited for, and is seen.
    IF EXISTS (
        SELECT FROM email_change
        WHERE old_email = NEW.email AND user_id <> NEW.user_id AND confirmed_at IS NOT NULL
            AND undone_at IS NULL AND ended_at IS NULL AND undo_until > now()
    ) OR EXISTS (SELECT FROM merged_email WHERE email = NEW.email AND user_id <> NEW.user_id) THEN
        RAISE EXCEPTION 'the address of user % is kept for another', NEW.user_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'credential_email_kept';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER credential_email_guard AFTER INSERT OR UPDATE OF email ON credential
FOR EACH ROW EXECUTE FUNCTION credential_email_guard();
ALTER TABLE credential ENABLE ALWAYS TRIGGER credential_email_guard;

-- A change of address takes each step once, in time.

CREATE OR REPLACE FUNCTION email_change_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF OLD.ended_at IS NOT NULL OR OLD.undone_at IS NOT NULL
        OR (OLD.confirmed_at IS NOT NULL
            AND (NEW.confirmed_at, NEW.undo_hash, NEW.undo_until)
                IS DISTINCT FROM (OLD.confirmed_at, OLD.undo_hash, OLD.undo_until))
        OR (OLD.confirmed_at IS NULL AND NEW.confirmed_at IS NOT NULL AND OLD.expires_at <= now())
        OR (NEW.undone_at IS NOT NULL AND OLD.undo_until <= now()) THEN
        RAISE EXCEPTION 'change of address % is over', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'email_change_steps';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER email_change_guard BEFORE UPDATE ON email_change
FOR EACH ROW EXECUTE FUNCTION email_change_guard();
ALTER TABLE email_change ENABLE ALWAYS TRIGGER email_change_guard;

-- A token made with a token can do no more, lives no longer, and ends with it.

CREATE OR REPLACE FUNCTION token_parent_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM token
    WHERE id = NEW.parent_id AND user_id = NEW.user_id AND kind = 'ACCESS' AND revoked_at IS NULL
        AND scopes @> NEW.scopes AND expires_at >= NEW.expires_at
    FOR SHARE;  -- waits for a revocation under way
    IF NOT FOUND THEN
        RAISE EXCEPTION 'token % outdoes the token that made it', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'token_within_parent';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER token_parent_guard BEFORE INSERT ON token
FOR EACH ROW WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION token_parent_guard();
ALTER TABLE token ENABLE ALWAYS TRIGGER token_parent_guard;

CREATE OR REPLACE FUNCTION token_children_end() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE token SET revoked_at = NEW.revoked_at WHERE parent_id = NEW.id AND revoked_at IS NULL;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER token_children_end AFTER UPDATE OF revoked_at ON token
FOR EACH ROW WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION token_children_end();
ALTER TABLE token ENABLE ALWAYS TRIGGER token_children_end;

REVOKE ALL ON FUNCTION
    credential_email_guard(), email_change_guard(), token_parent_guard(), token_children_end()
    FROM PUBLIC, commonweal_app;
