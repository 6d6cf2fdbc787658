-- What the tokens of a user may do changes with the roles, tokens and second factors of the user. Each change
-- raises the user's number in the same transaction, so a server that remembers a viewer learns from one row
-- whether they are still the same. The row stays locked until the commit: two changes at once raise it twice.

CREATE OR REPLACE FUNCTION raise_viewer_versions(ids uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    INSERT INTO viewer_version (user_id, version)
    SELECT c.id, 1 FROM collective c WHERE c.id = ANY (ids) AND c.type = 'USER' ORDER BY c.id
    ON CONFLICT (user_id) DO UPDATE SET version = viewer_version.version + 1;
$$;

CREATE OR REPLACE FUNCTION member_viewer_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM raise_viewer_versions(ARRAY[OLD.member_id, NEW.member_id]);
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER member_begins_viewer_version AFTER INSERT ON member
FOR EACH ROW WHEN (NEW.until IS NULL) EXECUTE FUNCTION member_viewer_version();
ALTER TABLE member ENABLE ALWAYS TRIGGER member_begins_viewer_version;
CREATE OR REPLACE TRIGGER member_changes_viewer_version
AFTER UPDATE OF collective_id, member_id, role, until OR DELETE ON member
FOR EACH ROW EXECUTE FUNCTION member_viewer_version();
ALTER TABLE member ENABLE ALWAYS TRIGGER member_changes_viewer_version;

CREATE OR REPLACE FUNCTION user_viewer_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM raise_viewer_versions(ARRAY[OLD.user_id, NEW.user_id]);
    RETURN NULL;
END $$;

-- A new token is one that no server remembers.

CREATE OR REPLACE TRIGGER token_viewer_version
AFTER UPDATE OF user_id, kind, token_hash, scopes, expires_at, revoked_at, last_used_at OR DELETE ON token
FOR EACH ROW EXECUTE FUNCTION user_viewer_version();
ALTER TABLE token ENABLE ALWAYS TRIGGER token_viewer_version;
CREATE OR REPLACE TRIGGER totp_factor_viewer_version
AFTER INSERT OR UPDATE OF user_id, activated_at OR DELETE ON totp_factor
FOR EACH ROW EXECUTE FUNCTION user_viewer_version();
ALTER TABLE totp_factor ENABLE ALWAYS TRIGGER totp_factor_viewer_version;
CREATE OR REPLACE TRIGGER passkey_viewer_version AFTER INSERT OR UPDATE OF user_id OR DELETE ON passkey
FOR EACH ROW EXECUTE FUNCTION user_viewer_version();
ALTER TABLE passkey ENABLE ALWAYS TRIGGER passkey_viewer_version;

-- A requirement concerns the ADMINs of a collective and of its events. The lock waits for those who are becoming
-- ADMIN, because a new member refers to its collective; whoever comes later finds the requirement.

CREATE OR REPLACE FUNCTION factor_requirement_viewer_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    ids uuid[];
BEGIN
    SELECT array_agg(c.id) INTO ids FROM (
        SELECT id FROM collective
        WHERE id IN (OLD.collective_id, NEW.collective_id)
            OR type = 'EVENT' AND parent_id IN (OLD.collective_id, NEW.collective_id)
        ORDER BY id FOR UPDATE) c;
    PERFORM raise_viewer_versions(array_agg(m.member_id)) FROM member m
    WHERE m.collective_id = ANY (ids) AND m.role = 'ADMIN' AND m.until IS NULL;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER factor_requirement_viewer_version AFTER INSERT OR UPDATE OR DELETE ON factor_requirement
FOR EACH ROW EXECUTE FUNCTION factor_requirement_viewer_version();
ALTER TABLE factor_requirement ENABLE ALWAYS TRIGGER factor_requirement_viewer_version;

-- Queries are told which hidden collectives their viewer has a role in.

CREATE OR REPLACE FUNCTION collective_viewer_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM collective c WHERE c.id = NEW.id FOR UPDATE;
    PERFORM raise_viewer_versions(array_agg(m.member_id)) FROM member m
    WHERE m.collective_id = NEW.id AND m.until IS NULL;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER collective_viewer_version AFTER UPDATE OF is_public ON collective
FOR EACH ROW WHEN (NEW.is_public <> OLD.is_public) EXECUTE FUNCTION collective_viewer_version();
ALTER TABLE collective ENABLE ALWAYS TRIGGER collective_viewer_version;

REVOKE ALL ON FUNCTION raise_viewer_versions(uuid[]), member_viewer_version(), user_viewer_version(),
    factor_requirement_viewer_version(), collective_viewer_version() FROM PUBLIC, commonweal_app;
