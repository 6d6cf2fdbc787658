-- Guards of what the platform's ADMINs do: rates, policies, payments and merges of users.

-- True if the larger of two values is at most twice the smaller, or they differ by at most a step.

CREATE OR REPLACE FUNCTION is_small_change(p_old numeric, p_new numeric, p_step numeric DEFAULT 0) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT greatest(p_old, p_new) <= 2 * least(p_old, p_new) OR abs(p_old - p_new) <= p_step
$$;

-- A policy takes effect from now on (a minute is left for the application's clock). Each figure is near every
-- value in force within a day of its start, and near the next one.

CREATE OR REPLACE FUNCTION policy_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE p record;
BEGIN
    PERFORM pg_advisory_xact_lock(7270);
    IF NOT EXISTS (SELECT FROM platform_policy) THEN
        RETURN NEW;
    END IF;
    IF NEW.valid_from < now() - interval '1 minute' THEN
        RAISE EXCEPTION 'a policy takes effect in the future'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'policy_not_backdated';
    END IF;
    FOR p IN (SELECT * FROM platform_policy WHERE valid_from <= NEW.valid_from - interval '1 day'
              ORDER BY valid_from DESC, id DESC LIMIT 1)
             UNION ALL SELECT * FROM platform_policy
              WHERE valid_from > NEW.valid_from - interval '1 day' AND valid_from < NEW.valid_from + interval '1 day'
             UNION ALL (SELECT * FROM platform_policy WHERE valid_from > NEW.valid_from
              ORDER BY valid_from, id DESC LIMIT 1) LOOP
        IF NOT (is_small_change(p.usd_per_current, NEW.usd_per_current)
                AND is_small_change(p.platform_fee_bps, NEW.platform_fee_bps, 500)
                AND is_small_change(p.redemption_fee_bps, NEW.redemption_fee_bps, 500)
                AND is_small_change(p.master_weekly_limit_minor, NEW.master_weekly_limit_minor)
                AND is_small_change(p.signup_bonus_minor, NEW.signup_bonus_minor, 1000)
                AND is_small_change(p.check_in_minutes, NEW.check_in_minutes, 60)
                AND is_small_change(p.max_event_hours_minor, NEW.max_event_hours_minor)
                AND is_small_change(p.default_issuance_cap_minor, NEW.default_issuance_cap_minor)
                AND is_small_change(p.confirm_above_minor, NEW.confirm_above_minor, 10000)
                AND is_small_change(p.platform_clearing_limit, NEW.platform_clearing_limit, 1000)) THEN
            RAISE EXCEPTION 'a figure of a policy at most doubles or halves within a day'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'policy_small_change';
        END IF;
    END LOOP;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER policy_guard BEFORE INSERT ON platform_policy
FOR EACH ROW EXECUTE FUNCTION policy_guard();
ALTER TABLE platform_policy ENABLE ALWAYS TRIGGER policy_guard;

-- The same for rates that the platform sets, against those of the pair and of its inverse. Published history is
-- loaded as it is, but never for currents.

CREATE OR REPLACE FUNCTION fx_rate_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_key text := least(NEW.base, NEW.quote) || greatest(NEW.base, NEW.quote); r record;
BEGIN
    IF NEW.source = 'ECB' THEN
        IF 'CUR' IN (NEW.base, NEW.quote) THEN
            RAISE EXCEPTION 'the platform alone sets the value of currents'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'fx_rate_source';
        END IF;
        RETURN NEW;
    END IF;
    PERFORM pg_advisory_xact_lock(7271, hashtext(v_key));
    IF NEW.valid_from < now() - interval '1 minute' THEN
        RAISE EXCEPTION 'a rate takes effect in the future'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'fx_rate_not_backdated';
    END IF;
    FOR r IN SELECT k.base = NEW.base AS is_direct, near.rate
             FROM (VALUES (NEW.base, NEW.quote), (NEW.quote, NEW.base)) k(base, quote) CROSS JOIN LATERAL (
                 (SELECT f.rate FROM fx_rate f WHERE f.base = k.base AND f.quote = k.quote
                     AND f.valid_from <= NEW.valid_from - interval '1 day' ORDER BY f.valid_from DESC LIMIT 1)
                 UNION ALL SELECT f.rate FROM fx_rate f WHERE f.base = k.base AND f.quote = k.quote
                     AND f.valid_from > NEW.valid_from - interval '1 day'
                     AND f.valid_from < NEW.valid_from + interval '1 day'
                 UNION ALL (SELECT f.rate FROM fx_rate f WHERE f.base = k.base AND f.quote = k.quote
                     AND f.valid_from > NEW.valid_from ORDER BY f.valid_from LIMIT 1)) near LOOP
        IF NOT is_small_change(r.rate, CASE WHEN r.is_direct THEN NEW.rate ELSE 1 / NEW.rate END) THEN
            RAISE EXCEPTION 'a rate at most doubles or halves within a day'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'fx_rate_small_change';
        END IF;
    END LOOP;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER fx_rate_guard BEFORE INSERT ON fx_rate
FOR EACH ROW EXECUTE FUNCTION fx_rate_guard();
ALTER TABLE fx_rate ENABLE ALWAYS TRIGGER fx_rate_guard;

-- Users are merged with the consent, within seven days, of both persons or of two ADMINs of the platform who are
-- neither of them.

CREATE OR REPLACE FUNCTION merge_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_persons bigint; v_admins bigint;
BEGIN
    SELECT count(*) FILTER (WHERE c.by_id IN (c.from_id, c.into_id)),
           count(*) FILTER (WHERE c.by_id NOT IN (c.from_id, c.into_id) AND EXISTS (
               SELECT FROM member m JOIN collective p ON p.id = m.collective_id
               WHERE m.member_id = c.by_id AND p.is_platform AND m.role = 'ADMIN' AND m.until IS NULL))
    INTO v_persons, v_admins
    FROM (SELECT DISTINCT m.from_id, m.into_id, m.by_id FROM merge_consent m
          WHERE m.from_id = NEW.id AND m.into_id = NEW.merged_into_id
            AND m.created_at > now() - interval '7 days') c;
    IF OLD.merged_into_id IS NOT NULL OR v_persons < 2 AND v_admins < 2 THEN
        RAISE EXCEPTION 'a merge needs both persons or two ADMINs of the platform'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'merge_confirmed';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER merge_guard BEFORE UPDATE OF merged_into_id ON collective
FOR EACH ROW WHEN (OLD.merged_into_id IS DISTINCT FROM NEW.merged_into_id) EXECUTE FUNCTION merge_guard();
ALTER TABLE collective ENABLE ALWAYS TRIGGER merge_guard;

REVOKE ALL ON FUNCTION is_small_change(numeric, numeric, numeric), policy_guard(), fx_rate_guard(),
    merge_guard() FROM PUBLIC, commonweal_app;

-- Refuses a time zone that PostgreSQL does not know, which would fail every list that computes with it, and
-- abbreviations and rules, which it understands but the time zone database does not name.

CREATE OR REPLACE FUNCTION time_zone_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.timezone !~ '^(UTC|[A-Za-z]+/[A-Za-z0-9_+/-]+|[A-Z]{3}[0-9][A-Z]{3})$' THEN
        RAISE EXCEPTION 'no time zone has this name' USING ERRCODE = 'check_violation', CONSTRAINT = 'time_zone_known';
    END IF;
    PERFORM now() AT TIME ZONE NEW.timezone;
    RETURN NEW;
EXCEPTION WHEN invalid_parameter_value THEN
    RAISE EXCEPTION 'no time zone has this name' USING ERRCODE = 'check_violation', CONSTRAINT = 'time_zone_known';
END $$;

DROP TRIGGER IF EXISTS time_zone_guard ON collective;
CREATE TRIGGER time_zone_guard BEFORE INSERT OR UPDATE OF timezone ON collective
FOR EACH ROW WHEN (NEW.timezone IS NOT NULL) EXECUTE FUNCTION time_zone_guard();
ALTER TABLE collective ENABLE ALWAYS TRIGGER time_zone_guard;

REVOKE ALL ON FUNCTION time_zone_guard() FROM PUBLIC, commonweal_app;
