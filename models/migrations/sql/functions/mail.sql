-- The one way into the outbox: every mail is counted, and those who stopped it get none.

-- Count `p_by` more under a key; return the seconds until its window ends if that exceeds the limit, else 0.
CREATE OR REPLACE FUNCTION mail_count(p_key text, p_by integer, p_limit integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE row record;
BEGIN
    INSERT INTO throttle AS t (key, attempts, window_ends_at) VALUES (p_key, p_by, now() + interval '1 day')
    ON CONFLICT (key) DO UPDATE SET
        attempts = CASE WHEN t.window_ends_at <= now() THEN p_by ELSE t.attempts + p_by END,
        window_ends_at = CASE WHEN t.window_ends_at <= now() THEN excluded.window_ends_at ELSE t.window_ends_at END
    RETURNING t.attempts, t.window_ends_at INTO row;
    IF row.attempts <= p_limit THEN
        RETURN 0;
    END IF;
    RETURN greatest(1, ceil(extract(epoch FROM row.window_ends_at - now())))::integer;
END $$;

-- Queue a mail for each recipient, within the budgets of its kind; nothing, and the seconds to wait, if the
-- sender or the network is over budget. Recipients over budget, or who stopped mail, get none in silence.
-- `p_limits` holds the budgets of a day: sender, network, pair, recipient, stranger. The rows of `throttle` are
-- locked until commit, so that two at once cannot exceed a budget: sender, network, then recipients in order.
-- Notices to people with an account are counted in the outbox instead, so that busy recipients hold up nobody;
-- as many more as are queued at the same moment may pass.
CREATE OR REPLACE FUNCTION mail_queue(
    p_template text, p_kind text, p_recipients text[], p_payloads jsonb[], p_orders uuid[],
    p_sender uuid, p_network text, p_limits jsonb
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_places integer[];
    v_place integer;
    v_recipient text;
    is_stranger boolean;
    wait integer;
    is_chosen boolean := p_kind IN ('INVITATION', 'MESSAGE');
BEGIN
    IF p_recipients IS NULL THEN
        RETURN 0;
    END IF;
    IF is_chosen AND p_sender IS NOT NULL THEN
        wait := mail_count('mail:' || p_kind || ':sender:' || p_sender, cardinality(p_recipients), (p_limits->>'sender')::integer);
        IF wait > 0 THEN RETURN wait; END IF;
        IF p_network <> '' THEN
            wait := mail_count('mail:' || p_kind || ':network:' || p_network, cardinality(p_recipients), (p_limits->>'network')::integer);
            IF wait > 0 THEN RETURN wait; END IF;
        END IF;
    END IF;
    -- A loop over numbers: most mails have one recipient, and a query to loop over costs as much as the mail.
    v_places := CASE cardinality(p_recipients) WHEN 1 THEN '{1}'
                ELSE ARRAY(SELECT m.place FROM unnest(p_recipients) WITH ORDINALITY AS m (recipient, place)
                           ORDER BY m.recipient) END;
    FOREACH v_place IN ARRAY v_places LOOP
        v_recipient := p_recipients[v_place];
        is_stranger := NOT EXISTS (SELECT FROM credential c WHERE c.email = v_recipient AND c.verified_at IS NOT NULL);
        IF is_stranger THEN
            INSERT INTO mail_stop (address, token)
            VALUES (v_recipient, replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''))
            ON CONFLICT DO NOTHING;
            -- Somebody else asks for it, unlike the other mails about an account.
            CONTINUE WHEN p_template = 'email_change_confirm' AND mail_is_stopped(v_recipient);
        END IF;
        IF p_kind <> 'ACCOUNT' THEN
            CONTINUE WHEN NOT mail_is_due(v_recipient, is_stranger, is_chosen, p_kind, p_sender, p_limits);
        END IF;
        INSERT INTO outbox (id, template, recipient, payload, order_id, lane, sender_id, is_to_stranger)
        VALUES (gen_random_uuid(), p_template, v_recipient, p_payloads[v_place], p_orders[v_place],
                CASE p_kind WHEN 'ACCOUNT' THEN 0 ELSE 1 END, p_sender, is_stranger);
    END LOOP;
    RETURN 0;
END $$;

-- True if the address has asked for no more mails.
CREATE OR REPLACE FUNCTION mail_is_stopped(p_address text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM mail_stop s WHERE s.address = p_address AND s.stopped_at IS NOT NULL)
$$;

-- True if a recipient gets one more mail of the kind, from the sender.
CREATE OR REPLACE FUNCTION mail_is_due(
    p_recipient text, p_is_stranger boolean, p_is_chosen boolean, p_kind text, p_sender uuid, p_limits jsonb
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_of_recipient integer := (p_limits->>'recipient')::integer;
    v_of_pair integer := (p_limits->>'pair')::integer;
    v_hash text;
    v_all bigint;
    v_of_sender bigint;
BEGIN
    IF p_is_stranger THEN
        IF mail_is_stopped(p_recipient) THEN
            RETURN false;
        END IF;
    END IF;
    IF p_is_stranger OR p_is_chosen THEN
        v_hash := encode(sha256(convert_to(p_recipient, 'UTF8')), 'hex');
    END IF;
    IF p_is_chosen THEN
        -- The pair first, in a statement of its own: what it refuses uses up nothing that others share.
        IF p_sender IS NOT NULL AND mail_count('mail:' || p_kind || ':pair:' || p_sender || ':' || v_hash, 1,
                                               v_of_pair) > 0 THEN
            RETURN false;
        END IF;
        IF mail_count('mail:' || p_kind || ':to:' || v_hash, 1, v_of_recipient) > 0 THEN
            RETURN false;
        END IF;
    ELSE
        -- The order makes the index of recipients serve, however many mails there are.
        SELECT count(*), count(*) FILTER (WHERE o.sender_id = p_sender) INTO v_all, v_of_sender
        FROM (SELECT sender_id FROM outbox
              WHERE recipient = p_recipient AND created_at > now() - interval '1 day' AND lane = 1
              ORDER BY created_at DESC LIMIT v_of_recipient) o;
        IF v_all >= v_of_recipient OR p_sender IS NOT NULL AND v_of_sender >= v_of_pair THEN
            RETURN false;
        END IF;
    END IF;
    RETURN NOT p_is_stranger OR mail_count('mail:stranger:' || v_hash, 1, (p_limits->>'stranger')::integer) = 0;
END $$;

REVOKE ALL ON FUNCTION mail_count(text, integer, integer),
    mail_is_stopped(text), mail_is_due(text, boolean, boolean, text, uuid, jsonb),
    mail_queue(text, text, text[], jsonb[], uuid[], uuid, text, jsonb) FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION mail_queue(text, text, text[], jsonb[], uuid[], uuid, text, jsonb) TO commonweal_app;
