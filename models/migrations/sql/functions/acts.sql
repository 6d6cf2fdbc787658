-- The audit log: one row of `act` for each changed row of the tables listed below, in the transaction of the
-- change, whoever makes it and by whichever path. The application may read the log, and nothing else.

-- Writes the act. Arguments of the trigger: kind; column of the collective or person whose row it is, or PLATFORM;
-- column of the second one, or empty; columns that are logged (* for all); columns of which only the change is
-- logged; SECURITY if the person's security log shows it; the key of versioned rows (* for none), where the version
-- before is what was there before; ONCE to log the first of several such rows of a transaction alone; columns that are logged
-- with every change, because they tell which row it is.
-- The setting commonweal.actor, which the application makes for each transaction, says who acts. Where there is
-- none, the role of the database is all that is known: a command, a job or a statement by hand.

CREATE OR REPLACE FUNCTION log_act() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_kind text := TG_ARGV[0]; v_shown text[] := TG_ARGV[3]::text[]; v_is_security boolean := TG_ARGV[5] = 'SECURITY';
    v_actor jsonb := nullif(current_setting('commonweal.actor', true), '')::jsonb;
    v_before jsonb := '{}'; v_after jsonb := '{}'; v_row jsonb; v_collective uuid; v_other uuid;
    v_old jsonb; v_new jsonb; v_hidden text[]; v_keys text; v_act act;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        v_row := to_jsonb(OLD); v_before := v_row;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        v_row := to_jsonb(NEW); v_after := v_row;
    END IF;
    IF TG_OP = 'INSERT' AND TG_ARGV[6] <> '{}' THEN
        SELECT string_agg(format('t.%1$I = (jsonb_populate_record(NULL::public.%2$I, $1)).%1$I', k, TG_TABLE_NAME), ' AND ')
        INTO v_keys FROM unnest(TG_ARGV[6]::text[]) k WHERE k <> '*';
        EXECUTE format('SELECT to_jsonb(t) FROM public.%I t WHERE %s AND t.id <> ($1 ->> ''id'')::uuid'
                       ' AND t.valid_from <= ($1 ->> ''valid_from'')::timestamptz'
                       ' ORDER BY t.valid_from DESC, t.id DESC LIMIT 1', TG_TABLE_NAME, coalesce(v_keys, 'true'))
        INTO v_before USING v_row;
        v_before := coalesce(v_before, '{}');
    END IF;
    IF v_shown = '{*}' THEN
        v_shown := ARRAY(SELECT k FROM jsonb_object_keys(v_row) k WHERE k NOT IN ('id', 'created_at', 'created_by_id'));
    END IF;
    SELECT coalesce(jsonb_object_agg(k, v_before -> k) FILTER (WHERE v_before ? k), '{}'),
           coalesce(jsonb_object_agg(k, v_after -> k) FILTER (WHERE v_after ? k), '{}')
    INTO v_old, v_new FROM unnest(v_shown) k
    WHERE coalesce(v_before -> k, 'null') IS DISTINCT FROM coalesce(v_after -> k, 'null');
    v_hidden := ARRAY(SELECT k FROM unnest(TG_ARGV[4]::text[]) k
                      WHERE coalesce(v_before -> k, 'null') IS DISTINCT FROM coalesce(v_after -> k, 'null'));
    IF TG_OP = 'UPDATE' THEN
        IF v_old = '{}' AND v_new = '{}' AND v_hidden = '{}' THEN
            RETURN NULL;
        END IF;
        SELECT v_old || coalesce(jsonb_object_agg(k, v_before -> k), '{}'),
               v_new || coalesce(jsonb_object_agg(k, v_after -> k), '{}')
        INTO v_old, v_new FROM unnest(TG_ARGV[8]::text[]) k;
    END IF;

    v_collective := CASE WHEN TG_ARGV[1] = 'PLATFORM' THEN (SELECT c.id FROM collective c WHERE c.is_platform)
                    ELSE (v_row ->> TG_ARGV[1])::uuid END;
    v_other := (v_row ->> nullif(TG_ARGV[2], ''))::uuid;
    v_act.change := CASE TG_OP WHEN 'INSERT' THEN 'ADDED' WHEN 'UPDATE' THEN 'CHANGED' ELSE 'REMOVED' END;
    IF TG_ARGV[7] = 'ONCE' AND EXISTS (
        SELECT FROM act a WHERE a.at >= now() AND a.kind = v_kind AND a.change = v_act.change
                            AND a.collective_id = v_collective AND a.xid = pg_current_xact_id()::text::bigint) THEN
        RETURN NULL;
    END IF;
    INSERT INTO act (kind, change, mutation, actor_id, token_id, token_kind, network, database_role, collective_id,
                     other_id, is_security, old_values, new_values, hidden_columns)
    VALUES (v_kind, v_act.change, v_actor ->> 'mutation', (v_actor ->> 'user')::uuid, (v_actor ->> 'token')::uuid,
            v_actor ->> 'kind', nullif(v_actor ->> 'network', ''),
            coalesce(nullif(current_setting('role'), 'none'), session_user), v_collective, v_other, v_is_security,
            v_old, v_new, v_hidden)
    RETURNING id, at INTO v_act.id, v_act.at;
    INSERT INTO act_subject (collective_id, at, act_id, is_security)
    SELECT DISTINCT s, v_act.at, v_act.id, v_is_security FROM unnest(ARRAY[v_collective, v_other]) s
    WHERE s IS NOT NULL;
    RETURN NULL;
END $$;

-- The log is written by these triggers alone, also where the owner of the tables would write it by hand.

CREATE OR REPLACE FUNCTION act_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION '% is written by the triggers of what it logs', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'act_by_trigger';
    END IF;
    RETURN NEW;
END $$;

DO $$
DECLARE t text; r record; v_condition text;
BEGIN
    FOREACH t IN ARRAY ARRAY['act', 'act_subject'] LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER act_guard BEFORE INSERT ON %I '
                       'FOR EACH ROW EXECUTE FUNCTION act_guard()', t);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER act_guard', t);
    END LOOP;

    -- What is logged. Names, texts and addresses of people are private: the log says only that they changed, so
    -- that nothing of them is left in it when a person is erased. Roles that orders earn are in the orders' history.
    FOR r IN SELECT * FROM (VALUES
        ('collective', 'COLLECTIVE', 'id', 'host_id',
         '{slug,type,name,legal_name,description,website,location,timezone,image_url,tags,currency,host_id,'
         'host_approved_at,host_fee_bps,settings,issuer_approved_at,archived_at,host_suspended_at,'
         'host_suspension_reason}',
         '{}', '', '{}', '', '{}', $c$NEW.type NOT IN ('USER', 'EVENT')$c$),
        ('collective', 'EVENT', 'id', 'parent_id',
         '{slug,name,description,website,location,timezone,image_url,tags,parent_id,settings,starts_at,ends_at,'
         'capacity,is_public,credit_policy,coordinator_id,cancelled_at,archived_at}',
         '{}', '', '{}', '', '{}', $c$NEW.type = 'EVENT'$c$),
        ('collective', 'USER', 'id', 'merged_into_id',
         '{timezone,currency,host_id,host_approved_at,settings,merged_into_id,claimed_at,archived_at}',
         '{slug,name,legal_name,description,website,location,image_url,tags,locale}',
         'SECURITY', '{}', '', '{}', $c$NEW.type = 'USER'$c$),
        ('member', 'MEMBER', 'collective_id', 'member_id', '{role,until}', '{}', '', '{}', '', '{role}',
         -- Whom an address belongs to is not known before that person agrees.
         $c$NEW.role NOT IN ('BACKER', 'VOLUNTEER') AND NEW.named_by IS DISTINCT FROM 'ADDRESS'$c$),
        ('invitation', 'INVITATION', 'collective_id', 'user_id', '{role,status,expires_at}', '{message}', '', '{}', '',
         '{role}', 'NOT NEW.by_email'),
        -- Whom an address belongs to is not known before that person accepts.
        ('invitation', 'EMAIL_INVITATION', 'collective_id', '', '{role,status,expires_at}', '{message}', '', '{}', '',
         '{role}', 'NEW.by_email'),
        ('host_application', 'HOST_APPLICATION', 'collective_id', 'host_id', '{status,reason,expires_at}',
         '{message}', '', '{}', '', '{}', 'true'),
        ('payment_method', 'PAYMENT_METHOD', 'host_id', '', '{kind,name,fee_bps,fee_fixed_minor,archived_at}', '{}',
         '', '{}', '', '{name}', 'true'),
        ('payout_method', 'PAYOUT_METHOD', 'owner_id', '', '{kind,archived_at}', '{name,details}', 'SECURITY', '{}',
         '', '{kind}', 'true'),
        ('offer', 'OFFER', 'business_id', '', '{item,description,currents_share_percent,monthly_limit,is_master,'
         'is_active,is_featured}', '{}', '', '{}', '', '{item}', 'true'),
        -- How many are sold is in the orders' history.
        ('tier', 'TIER', 'collective_id', '', '{type,name,description,pricing,currency,amount_minor,minimum_minor,'
         'presets_minor,interval,capacity,max_per_person,goal_minor,opens_at,closes_at,position,archived_at}', '{}', '', '{}', '',
         '{name}', 'true'),
        ('goal', 'GOAL', 'collective_id', '', '{kind,currency,amount_minor,ended_at}', '{}', '', '{}', '', '{kind}', 'true'),
        -- What it is charged is in the orders' history.
        ('subscription', 'RECURRING_GIFT', 'from_id', 'to_id', '{interval,currency,amount_minor,tip_minor,tier_id,quantity,'
         'anchor_day,payment_method_kind,payment_method_id,status,paused_by,resumes_on,is_incognito}',
         '{pause_reason,ended_reason}', '', '{}', '', '{}', 'NOT NEW.is_incognito'),
        -- Its receiver does not learn who gives: the log of the giver alone has it.
        ('subscription', 'INCOGNITO_GIFT', 'from_id', '', '{interval,currency,amount_minor,tip_minor,tier_id,quantity,'
         'anchor_day,payment_method_kind,payment_method_id,status,paused_by,resumes_on,is_incognito}',
         '{pause_reason,ended_reason}', '', '{}', '', '{}', 'NEW.is_incognito'),
        ('platform_policy', 'PLATFORM_POLICY', 'PLATFORM', '', '{*}', '{}', '', '{*}', '', '{}', 'true'),
        ('approval_policy', 'APPROVAL_POLICY', 'collective_id', '', '{currency,amount_minor,valid_from}', '{}', '',
         '{collective_id}', '', '{}', 'true'),
        ('fx_rate', 'EXCHANGE_RATE', 'PLATFORM', '', '{base,quote,rate,valid_from,source}', '{}', '', '{base,quote}',
         '', '{base,quote}', $c$NEW.source <> 'ECB'$c$),
        ('issuance_cap', 'ISSUANCE_CAP', 'nonprofit_id', '', '{period,amount_minor,valid_from}', '{}', '',
         '{nonprofit_id,period}', '', '{period}', 'true'),
        ('ledger_account', 'CLEARING_LIMIT', 'book_id', 'owner_id', '{credit_limit}', '{}', '', '{}', '',
         '{currency}', $c$NEW.kind = 'CLEARING'$c$),
        ('suspension', 'SUSPENSION', 'user_id', '', '{reason,ended_at}', '{}', 'SECURITY', '{}', '', '{}', 'true'),
        ('merge_consent', 'MERGE_CONSENT', 'from_id', 'into_id', '{from_id,into_id}', '{}', 'SECURITY', '{}', '',
         '{}', 'true'),
        ('muted_topic', 'MUTED_TOPIC', 'user_id', '', '{topic}', '{}', '', '{}', '', '{}', 'true'),
        ('token', 'SESSION', 'user_id', '', '{expires_at,revoked_at,device,factor,confirmed_at}', '{network}',
         'SECURITY', '{}', '', '{device}', $c$NEW.kind = 'SESSION'$c$),
        ('token', 'ACCESS_TOKEN', 'user_id', '', '{name,scopes,expires_at,revoked_at}', '{}', 'SECURITY', '{}', '',
         '{name}', $c$NEW.kind = 'ACCESS'$c$),
        ('credential', 'CREDENTIAL', 'user_id', '', '{verified_at}', '{email,password_hash}', 'SECURITY', '{}', '',
         '{}', 'true'),
        ('email_change', 'EMAIL_CHANGE', 'user_id', '', '{expires_at,ended_at,confirmed_at,undone_at}',
         '{old_email,new_email}', 'SECURITY', '{}', '', '{}', 'true'),
        ('identity', 'IDENTITY', 'user_id', '', '{issuer}', '{subject,email}', 'SECURITY', '{}', '', '{issuer}',
         'true'),
        ('totp_factor', 'AUTHENTICATOR_APP', 'user_id', '', '{activated_at}', '{secret}', 'SECURITY', '{}', '', '{}',
         'true'),
        ('recovery_code', 'RECOVERY_CODE', 'user_id', '', '{used_at}', '{code_hash}', 'SECURITY', '{}', 'ONCE', '{}',
         'true'),
        ('passkey', 'PASSKEY', 'user_id', '', '{name}', '{credential_id,public_key}', 'SECURITY', '{}', '', '{name}',
         'true'),
        ('data_export', 'DATA_EXPORT', 'user_id', '', '{}', '{}', 'SECURITY', '{}', '', '{}', 'true'),
        ('factor_requirement', 'FACTOR_REQUIREMENT', 'collective_id', '', '{}', '{}', '', '{}', '', '{}', 'true')
        ) AS list (of, kind, collective, other, shown, hidden, security, version, repeats, naming, condition)
    LOOP
        FOR t, v_condition IN VALUES
            -- Every posting updates an account, and every charge a gift: their triggers look at what is logged alone.
            (CASE WHEN r.kind = 'CLEARING_LIMIT' THEN 'UPDATE OF credit_limit'
             WHEN r.of = 'subscription' THEN 'INSERT OR UPDATE OF status, amount_minor, tier_id, quantity, anchor_day, '
                  'payment_method_kind, payment_method_id, is_incognito' ELSE 'INSERT OR UPDATE' END, r.condition),
            -- What of keys ended long ago goes in silence.
            ('DELETE', replace(r.condition, 'NEW.', 'OLD.') || CASE r.of
                WHEN 'token' THEN ' AND OLD.revoked_at IS NULL AND OLD.expires_at > now()' ELSE '' END) LOOP
            EXECUTE format('CREATE OR REPLACE TRIGGER %1$I AFTER %2$s ON %3$I FOR EACH ROW WHEN (%4$s) '
                           'EXECUTE FUNCTION log_act(%5$L, %6$L, %7$L, %8$L, %9$L, %10$L, %11$L, %12$L, %13$L)',
                           'act_' || lower(r.kind) || CASE t WHEN 'DELETE' THEN '_end' ELSE '' END, t, r.of,
                           v_condition, r.kind, r.collective, r.other, r.shown, r.hidden, r.security, r.version,
                           r.repeats, r.naming);
            EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', r.of,
                           'act_' || lower(r.kind) || CASE t WHEN 'DELETE' THEN '_end' ELSE '' END);
        END LOOP;
    END LOOP;
END $$;

REVOKE ALL ON FUNCTION log_act(), act_guard() FROM PUBLIC, commonweal_app;
