-- Erasing a person: what is theirs goes, what others rely on stays under a pseudonym.

-- True while `erase_person` runs in this transaction, for what it does itself: with the rights of the tables'
-- owner, which the application does not have.
CREATE OR REPLACE FUNCTION is_erasing() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT coalesce(current_setting('commonweal.erasing', true), '') = pg_current_xact_id_if_assigned()::text
       AND current_user = (SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = 'public.order_action'::regclass)
$$;

-- Of history, erasing a person changes texts alone.
CREATE OR REPLACE FUNCTION erased_text_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF to_jsonb(OLD) - TG_ARGV[0]::text[] IS DISTINCT FROM to_jsonb(NEW) - TG_ARGV[0]::text[] THEN
        RAISE EXCEPTION 'only texts of % are erased', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'append_only', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER erased_text_guard BEFORE UPDATE ON order_action
FOR EACH ROW EXECUTE FUNCTION erased_text_guard('{reason}');
ALTER TABLE order_action ENABLE ALWAYS TRIGGER erased_text_guard;
CREATE OR REPLACE TRIGGER erased_text_guard BEFORE UPDATE ON transaction
FOR EACH ROW EXECUTE FUNCTION erased_text_guard('{description}');
ALTER TABLE transaction ENABLE ALWAYS TRIGGER erased_text_guard;
CREATE OR REPLACE TRIGGER erased_text_guard BEFORE UPDATE ON act
FOR EACH ROW EXECUTE FUNCTION erased_text_guard('{old_values,new_values,network}');
ALTER TABLE act ENABLE ALWAYS TRIGGER erased_text_guard;

-- Erase an archived person without money or open orders: names, addresses, texts, keys, sessions; memberships
-- end. Orders, the ledger and who did what stay, under the pseudonym. Callers hold the lock of the person.
CREATE OR REPLACE FUNCTION erase_person(p_id uuid, p_name text, p_slug text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_ids uuid[]; v_words text[]; v_addresses text[];
BEGIN
    PERFORM FROM collective WHERE id = p_id AND type = 'USER' AND archived_at IS NOT NULL FOR UPDATE;
    IF NOT FOUND
       OR EXISTS (SELECT FROM ledger_account a WHERE a.owner_id = p_id AND (a.posted <> 0 OR a.held <> 0))
       OR EXISTS (SELECT FROM "order" o WHERE p_id IN (o.from_id, o.to_id) AND o.status IN ('PENDING', 'APPROVED')) THEN
        RAISE EXCEPTION 'only an archived person without money and open orders is erased'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'erased_person_settled';
    END IF;
    PERFORM set_config('commonweal.erasing', pg_current_xact_id()::text, true);
    v_ids := ARRAY(WITH RECURSIVE same AS (
        SELECT p_id AS id UNION SELECT c.id FROM collective c JOIN same s ON c.merged_into_id = s.id)
        SELECT id FROM same);
    v_addresses := ARRAY(SELECT email FROM credential WHERE user_id = ANY (v_ids)
                         UNION SELECT email FROM merged_email WHERE user_id = ANY (v_ids)
                         UNION SELECT unnest(ARRAY[old_email, new_email]) FROM email_change WHERE user_id = ANY (v_ids)
                         UNION SELECT email FROM identity WHERE user_id = ANY (v_ids) AND email IS NOT NULL);
    v_words := v_addresses
        || ARRAY(SELECT w FROM collective c, unnest(ARRAY[c.name, c.slug, c.legal_name]) w WHERE c.id = ANY (v_ids) AND w IS NOT NULL)
        || ARRAY(SELECT slug FROM slug_redirect WHERE collective_id = ANY (v_ids))
        || ARRAY(SELECT t.name FROM email_token t WHERE t.user_id = ANY (v_ids) AND t.name IS NOT NULL);

    -- Mails to them go, and their name goes from those to others.
    DELETE FROM outbox WHERE recipient = ANY (v_addresses);
    -- `name` greets the recipient, who may have the same name; `role` is no name.
    UPDATE outbox o SET payload = (
        SELECT jsonb_object_agg(e.key, CASE
            WHEN o.sender_id = ANY (v_ids) AND e.key IN ('message', 'reason', 'description') THEN to_jsonb(''::text)
            WHEN e.value #>> '{}' = ANY (v_words) AND e.key NOT IN ('name', 'role') THEN to_jsonb(p_name)
            ELSE e.value END)
        FROM jsonb_each(o.payload) e)
    WHERE o.payload <> '{}'
      AND (o.sender_id = ANY (v_ids)
           OR EXISTS (SELECT FROM jsonb_each_text(o.payload) e
                      WHERE e.value = ANY (v_words) AND e.key NOT IN ('name', 'role')));
    DELETE FROM mail_stop WHERE address = ANY (v_addresses) AND stopped_at IS NULL;
    -- Parts of a key stand between colons, and no address has one.
    DELETE FROM throttle t WHERE string_to_array(t.key, ':') && v_addresses;

    -- Keys.
    DELETE FROM email_token WHERE user_id = ANY (v_ids);
    DELETE FROM email_change WHERE user_id = ANY (v_ids);
    DELETE FROM provider_sign_in WHERE user_id = ANY (v_ids) OR email = ANY (v_addresses);
    DELETE FROM identity WHERE user_id = ANY (v_ids);
    DELETE FROM totp_factor WHERE user_id = ANY (v_ids);
    DELETE FROM recovery_code WHERE user_id = ANY (v_ids);
    DELETE FROM passkey WHERE user_id = ANY (v_ids);
    DELETE FROM challenge WHERE user_id = ANY (v_ids);
    UPDATE token SET revoked_at = coalesce(revoked_at, now()), name = NULL, device = NULL, network = NULL, device_id = NULL
    WHERE user_id = ANY (v_ids);
    DELETE FROM device WHERE user_id = ANY (v_ids);
    -- Copies of their data: no new one is made, and the hourly job deletes the files of those that were.
    UPDATE data_export SET finished_at = coalesce(finished_at, now()), expires_at = coalesce(finished_at, now()),
        downloaded_at = NULL
    WHERE user_id = ANY (v_ids) AND removed_at IS NULL;
    DELETE FROM credential WHERE user_id = ANY (v_ids);
    DELETE FROM merged_email WHERE user_id = ANY (v_ids);
    DELETE FROM muted_topic WHERE user_id = ANY (v_ids);

    -- Texts of theirs, in what stays.
    UPDATE "order" SET description = NULL, private_message = NULL
    WHERE created_by_id = ANY (v_ids) OR created_by_id IS NULL AND claimed_giver_id = ANY (v_ids);
    UPDATE transaction t SET description = NULL FROM "order" o
    WHERE t.order_id = o.id AND o.created_by_id = ANY (v_ids) AND t.description IS NOT NULL;
    UPDATE order_item i SET description = 'erased' FROM "order" o WHERE o.id = i.order_id AND o.created_by_id = ANY (v_ids);
    UPDATE order_action SET reason = 'erased' WHERE actor_id = ANY (v_ids) AND reason IS NOT NULL;
    UPDATE redemption r SET place = NULL, receipt_text = CASE WHEN r.receipt_text IS NULL THEN NULL ELSE 'erased' END
    FROM "order" o WHERE o.id = r.order_id AND o.from_id = ANY (v_ids);
    UPDATE invitation SET message = NULL WHERE created_by_id = ANY (v_ids) OR user_id = ANY (v_ids);
    UPDATE host_application SET message = NULL WHERE created_by_id = ANY (v_ids);
    UPDATE payout_method SET name = 'erased', details = '{}', archived_at = coalesce(archived_at, now())
    WHERE owner_id = ANY (v_ids);
    UPDATE instrument SET brand = 'erased', last4 = '0000', expires_on = NULL, external_id = id::text,
        customer_id = NULL, archived_at = coalesce(archived_at, now())
    WHERE owner_id = ANY (v_ids);
    UPDATE suspension SET reason = 'erased' WHERE user_id = ANY (v_ids);
    UPDATE subscription SET description = NULL, pause_reason = NULL, ended_reason = NULL
    WHERE v_ids && ARRAY[from_id, to_id, created_by_id];

    UPDATE member SET until = greatest(now(), since) WHERE member_id = ANY (v_ids) AND until IS NULL;
    UPDATE collective SET coordinator_id = NULL WHERE coordinator_id = ANY (v_ids);
    DELETE FROM slug_redirect WHERE collective_id = ANY (v_ids);
    UPDATE collective c SET
        name = p_name, slug = CASE WHEN c.id = p_id THEN p_slug ELSE 'erased-' || replace(c.id::text, '-', '') END,
        legal_name = NULL, description = NULL, website = NULL, location = NULL, timezone = NULL, locale = NULL, image_url = NULL,
        tags = '{}', settings = '{}', erased_at = now(), updated_at = now()
    WHERE c.id = ANY (v_ids);
    -- Of the log stays who did what, and when; not how they called their devices and keys, nor from where they acted.
    UPDATE act SET old_values = '{}', new_values = '{}'
    WHERE id IN (SELECT s.act_id FROM act_subject s WHERE s.collective_id = ANY (v_ids))
      AND collective_id = ANY (v_ids) AND kind IN ('SESSION', 'ACCESS_TOKEN', 'PASSKEY', 'SUSPENSION', 'USER');
    UPDATE act SET network = NULL WHERE actor_id = ANY (v_ids) AND network IS NOT NULL;
    PERFORM set_config('commonweal.erasing', '', true);
END $$;

REVOKE ALL ON FUNCTION is_erasing(), erased_text_guard(), erase_person(uuid, text, text) FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION is_erasing(), erase_person(uuid, text, text) TO commonweal_app;
