-- No session without the second factor of somebody who has one, whichever way they sign in.

CREATE OR REPLACE FUNCTION token_factor_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM totp_factor WHERE user_id = NEW.user_id AND activated_at IS NOT NULL)
        OR EXISTS (SELECT FROM passkey WHERE user_id = NEW.user_id) THEN
        RAISE EXCEPTION 'user % has a second factor', NEW.user_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'token_second_factor';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER token_factor_guard BEFORE INSERT ON token
FOR EACH ROW WHEN (NEW.kind = 'SESSION' AND NEW.factor IS NULL) EXECUTE FUNCTION token_factor_guard();
ALTER TABLE token ENABLE ALWAYS TRIGGER token_factor_guard;

-- A code is used once and never after a later one; the secret of an active factor stays.

CREATE OR REPLACE FUNCTION totp_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the authenticator of user % only moves on', OLD.user_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'totp_moves_on';
END $$;

CREATE OR REPLACE TRIGGER totp_guard BEFORE UPDATE ON totp_factor
FOR EACH ROW WHEN (NEW.user_id <> OLD.user_id OR OLD.activated_at IS NOT NULL AND (
    NEW.last_step <= OLD.last_step OR NEW.secret <> OLD.secret OR NEW.activated_at IS DISTINCT FROM OLD.activated_at))
EXECUTE FUNCTION totp_guard();
ALTER TABLE totp_factor ENABLE ALWAYS TRIGGER totp_guard;

CREATE OR REPLACE FUNCTION recovery_code_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'a recovery code of user % was used before', OLD.user_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'recovery_code_once';
END $$;

CREATE OR REPLACE TRIGGER recovery_code_guard BEFORE UPDATE ON recovery_code
FOR EACH ROW WHEN (OLD.used_at IS NOT NULL) EXECUTE FUNCTION recovery_code_guard();
ALTER TABLE recovery_code ENABLE ALWAYS TRIGGER recovery_code_guard;

-- The counter of a passkey only grows; those that count nothing stay at zero.

CREATE OR REPLACE FUNCTION passkey_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the counter of passkey % went back: it may have been copied', OLD.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'passkey_counter';
END $$;

CREATE OR REPLACE TRIGGER passkey_guard BEFORE UPDATE OF sign_count ON passkey
FOR EACH ROW WHEN (NEW.sign_count <= OLD.sign_count AND OLD.sign_count > 0) EXECUTE FUNCTION passkey_guard();
ALTER TABLE passkey ENABLE ALWAYS TRIGGER passkey_guard;

-- Who requires a second factor of others has one.

CREATE OR REPLACE FUNCTION factor_requirement_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM totp_factor WHERE user_id = NEW.created_by_id AND activated_at IS NOT NULL)
        AND NOT EXISTS (SELECT FROM passkey WHERE user_id = NEW.created_by_id) THEN
        RAISE EXCEPTION 'user % has no second factor', NEW.created_by_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'factor_requirement_by_factor';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER factor_requirement_guard BEFORE INSERT ON factor_requirement
FOR EACH ROW EXECUTE FUNCTION factor_requirement_guard();
ALTER TABLE factor_requirement ENABLE ALWAYS TRIGGER factor_requirement_guard;

REVOKE ALL ON FUNCTION token_factor_guard(), totp_guard(), recovery_code_guard(), passkey_guard(),
    factor_requirement_guard() FROM PUBLIC, commonweal_app;
