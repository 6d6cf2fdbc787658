-- Guards of approval by two people. What they ask is in approval_limits.sql.

-- An approval is of a pending order, by an ADMIN of who decides it, of that one's host or of the platform (for
-- hours, of the event, too) who has no interest in it. One at a time for each order, so that of two at once the
-- second sees the first.

CREATE OR REPLACE FUNCTION approval_row_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE o "order";
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.id, OLD.order_id, OLD.approver_id, OLD.amount, OLD.created_at)
           IS DISTINCT FROM (NEW.id, NEW.order_id, NEW.approver_id, NEW.amount, NEW.created_at)
           OR OLD.voided_at IS NOT NULL OR NEW.voided_at IS NULL THEN
            RAISE EXCEPTION 'an approval ends once, and nothing else of it changes'
                USING ERRCODE = 'restrict_violation', CONSTRAINT = 'approval_kept';
        END IF;
        RETURN NEW;
    END IF;
    SELECT x.* INTO o FROM "order" x WHERE x.id = NEW.order_id FOR NO KEY UPDATE;
    IF o.status IS DISTINCT FROM 'PENDING' THEN
        RAISE EXCEPTION 'only a pending order is approved'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_of_pending';
    END IF;
    IF approval_excluded(o, NEW.approver_id) THEN
        RAISE EXCEPTION 'nobody may approve an order that they created for themselves'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'approved_by_another';
    END IF;
    IF NOT is_approving_admin(o, NEW.approver_id) THEN
        RAISE EXCEPTION 'an order is approved by an ADMIN'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_by_admin';
    END IF;
    NEW.created_at := clock_timestamp();
    NEW.voided_at := NULL;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER approval_row_guard BEFORE INSERT OR UPDATE ON approval
FOR EACH ROW EXECUTE FUNCTION approval_row_guard();
ALTER TABLE approval ENABLE ALWAYS TRIGGER approval_row_guard;

-- An amount above what one person may approve is approved only once two people stand for it. An order that is paid
-- in the moment it is made has one person alone, so above that amount it is refused. How much one person may approve
-- of a volunteer who never signed in depends on the hours of the week that are paid already: approvals of such hours
-- take turns, with each other and with new hours. Callers that approve several orders take all these turns first.

CREATE OR REPLACE FUNCTION two_people_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_amount bigint := coalesce(NEW.approved_amount, NEW.amount) + coalesce(NEW.tip, 0);
BEGIN
    -- Conditions with queries stand apart: PL/pgSQL would run them whole.
    IF NEW.type = 'HOURS' AND TG_OP = 'UPDATE' THEN
        IF EXISTS (SELECT FROM collective c WHERE c.id = NEW.to_id AND c.claimed_at IS NULL) THEN
            PERFORM pg_advisory_xact_lock(uuid_hash_extended(NEW.to_id, 2));  -- as hours_take_turns
        END IF;
    END IF;
    IF v_amount > single_approval_limit(NEW) THEN
        IF (SELECT count(*) FROM approvers(NEW)) < 2 THEN
            RAISE EXCEPTION 'two people have to approve this amount'
                USING ERRCODE = 'check_violation',
                      CONSTRAINT = CASE TG_OP WHEN 'INSERT' THEN 'two_people_at_once' ELSE 'two_people' END;
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER two_people_guard BEFORE UPDATE OF status ON "order"
FOR EACH ROW WHEN (OLD.status IN ('PENDING', 'FAILED') AND NEW.status IN ('APPROVED', 'PAID'))
EXECUTE FUNCTION two_people_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER two_people_guard;
CREATE OR REPLACE TRIGGER two_people_insert_guard BEFORE INSERT ON "order"
FOR EACH ROW WHEN (NEW.status IN ('APPROVED', 'PAID') AND NEW.import_key IS NULL)
EXECUTE FUNCTION two_people_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER two_people_insert_guard;

-- An edit of an order ends the approvals that it has.

CREATE OR REPLACE FUNCTION end_approvals() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE approval SET voided_at = clock_timestamp() WHERE order_id = NEW.id AND voided_at IS NULL;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER end_approvals AFTER UPDATE ON "order"
FOR EACH ROW WHEN (NEW.type = 'EXPENSE' AND NEW.status = 'PENDING') EXECUTE FUNCTION end_approvals();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER end_approvals;

-- Subscribers are told of an approval as of any other change of the order.

CREATE OR REPLACE FUNCTION live_approval() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO live_event (kind, node_id, collective_ids)
    SELECT 'ORDER', o.id, ARRAY[o.from_id, o.to_id] FROM "order" o WHERE o.id = NEW.order_id;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER live_approval AFTER INSERT ON approval FOR EACH ROW EXECUTE FUNCTION live_approval();

-- A policy begins now or later, and a laxer one no earlier than a day later: nobody lifts it for one approval.

CREATE OR REPLACE FUNCTION approval_policy_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE p approval_policy;
BEGIN
    PERFORM pg_advisory_xact_lock(7272, hashtext(NEW.collective_id::text));
    NEW.created_at := clock_timestamp();
    IF NEW.valid_from < now() - interval '1 minute' THEN
        RAISE EXCEPTION 'a policy takes effect in the future'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_policy_not_backdated';
    END IF;
    SELECT a.* INTO p FROM approval_policy a WHERE a.collective_id = NEW.collective_id AND a.valid_from <= now()
    ORDER BY a.created_at DESC, a.id DESC LIMIT 1;
    IF p.amount_minor IS NOT NULL AND NEW.valid_from < now() + interval '1 day' - interval '1 minute'
       AND (NEW.amount_minor IS NULL OR NEW.currency <> p.currency OR NEW.amount_minor > p.amount_minor) THEN
        RAISE EXCEPTION 'a laxer policy takes effect a day later'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_policy_in_a_day';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER approval_policy_guard BEFORE INSERT ON approval_policy
FOR EACH ROW EXECUTE FUNCTION approval_policy_guard();
ALTER TABLE approval_policy ENABLE ALWAYS TRIGGER approval_policy_guard;

-- True if the person approved the order and so has to leave its payment to somebody else: the payer's host, or for
-- cash-outs and redemptions the platform, has another ADMIN who can act, has no interest in the order and has not
-- approved it. Orders that their approval pays at once have no payment of their own.

CREATE OR REPLACE FUNCTION needs_another_payer(p_order "order", p_person uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT (p_order.type IN ('CASH_OUT', 'REDEMPTION')
            OR p_order.type = 'EXPENSE' AND p_order.payout_method_kind IS DISTINCT FROM 'BALANCE')
        AND EXISTS (SELECT FROM order_action a WHERE a.order_id = p_order.id AND a.type = 'APPROVE'
                    AND a.actor_id IN (SELECT person_ids(p_person)))
        AND EXISTS (
            SELECT FROM member m
            WHERE m.collective_id = CASE p_order.type
                      WHEN 'EXPENSE' THEN (SELECT c.host_id FROM collective c WHERE c.id = p_order.from_id)
                      ELSE (SELECT c.id FROM collective c WHERE c.is_platform) END
              AND m.role = 'ADMIN' AND m.until IS NULL AND m.member_id <> p_person AND can_act(m.member_id)
              AND NOT has_interest(p_order, m.member_id)
              AND NOT EXISTS (SELECT FROM order_action a WHERE a.order_id = p_order.id AND a.type = 'APPROVE'
                              AND a.actor_id IN (SELECT person_ids(m.member_id))))
$$;

CREATE OR REPLACE FUNCTION second_payer_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE o "order";
BEGIN
    SELECT x.* INTO o FROM "order" x WHERE x.id = NEW.order_id AND x.type IN ('CASH_OUT', 'REDEMPTION', 'EXPENSE');
    IF FOUND THEN
        IF needs_another_payer(o, NEW.actor_id) THEN
            RAISE EXCEPTION 'approving and paying are two people where two could'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'paid_by_another';
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER second_payer_guard BEFORE INSERT ON order_action
FOR EACH ROW WHEN (NEW.type = 'PAY' AND NEW.actor_id IS NOT NULL) EXECUTE FUNCTION second_payer_guard();
ALTER TABLE order_action ENABLE ALWAYS TRIGGER second_payer_guard;

REVOKE ALL ON FUNCTION approval_row_guard(), two_people_guard(), end_approvals(), live_approval(),
    approval_policy_guard(), needs_another_payer("order", uuid), second_payer_guard() FROM PUBLIC, commonweal_app;
