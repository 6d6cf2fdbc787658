-- Guards of hosts and of what is archived. A book is the set of ledger accounts of one host.

-- Books -------------------------------------------------------------------------------------------------
-- A host is an organization that the platform approved: it hosts itself. The platform is one from the start.
-- book_state answers 'OPEN', 'SUSPENDED' or 'NONE', under a lock that suspending the host waits for, and that
-- waits for it. The lock is an advisory one: the row of a busy host is not locked by each posting.

CREATE OR REPLACE FUNCTION book_state(p_host uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE c record;
BEGIN
    IF EXISTS (SELECT FROM collective p WHERE p.id = p_host AND p.is_platform) THEN
        RETURN 'OPEN';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(uuid_hash_extended(p_host, 1));
    SELECT h.host_id, h.host_approved_at, h.host_suspended_at INTO c FROM collective h WHERE h.id = p_host;
    IF c.host_id IS DISTINCT FROM p_host OR c.host_approved_at IS NULL THEN
        RETURN 'NONE';
    END IF;
    RETURN CASE WHEN c.host_suspended_at IS NULL THEN 'OPEN' ELSE 'SUSPENDED' END;
END $$;

-- The counterpart of book_state's lock, for who suspends or approves a host. Locks: the host's book.

CREATE OR REPLACE FUNCTION lock_book(p_host uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT pg_advisory_xact_lock(uuid_hash_extended(p_host, 1));
$$;

CREATE OR REPLACE FUNCTION require_open_book(p_host uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_state text := book_state(p_host);
BEGIN
    IF v_state = 'NONE' THEN
        RAISE EXCEPTION 'only an approved host has a book'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'host_approved';
    ELSIF v_state = 'SUSPENDED' THEN
        RAISE EXCEPTION 'a suspended host takes no new money'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'host_suspended';
    END IF;
END $$;

-- Only an approved host has accounts. A suspended one gets no new balances; accounts of other kinds may be
-- needed to pay out what is there.

CREATE OR REPLACE FUNCTION account_book_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.kind = 'BALANCE' OR book_state(NEW.book_id) = 'NONE' THEN
        PERFORM require_open_book(NEW.book_id);
    END IF;
    RETURN NULL;
END $$;

-- After the insert, so that an account that exists already is not asked about again.
CREATE OR REPLACE TRIGGER account_book_guard AFTER INSERT ON ledger_account
FOR EACH ROW EXECUTE FUNCTION account_book_guard();
ALTER TABLE ledger_account ENABLE ALWAYS TRIGGER account_book_guard;

-- New money comes only into the book of an approved host that is not suspended, and only to a collective that
-- this host still holds money for. Refunds give back what was there, and settlements pay what was owed: a
-- suspended host may take and pay them, but not for a collective that has left it or is archived. Each host keeps
-- tips for the platform. Currents are always in the platform's book.

CREATE OR REPLACE FUNCTION transaction_book_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_is_refund boolean := NEW.refund_of_id IS NOT NULL;
    v_receiver uuid := CASE WHEN v_is_refund THEN NEW.from_collective_id ELSE NEW.to_collective_id END;
    v_book uuid := CASE WHEN v_is_refund THEN NEW.from_host_id ELSE NEW.to_host_id END;
    c record;
BEGIN
    IF NEW.currency = 'CUR' OR NEW.kind = 'MERGE' THEN
        RETURN NEW;
    END IF;
    IF v_is_refund THEN
        PERFORM FROM collective x WHERE x.id IN (NEW.from_collective_id, NEW.to_collective_id)
            AND x.archived_at IS NOT NULL
            AND NOT EXISTS (SELECT FROM "order" o WHERE o.id = NEW.order_id AND o.import_key IS NOT NULL)
            -- A provider gives back to whom it collected from, whatever became of their account here.
            AND (x.id = NEW.from_collective_id AND NEW.from_host_id IS NULL AND provider_has_paid(NEW.order_id))
                IS NOT TRUE;
        IF FOUND THEN
            RAISE EXCEPTION 'neither side of a refund is archived'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'transaction_sides_open';
        END IF;
    ELSIF v_book IS NOT NULL AND NEW.kind <> 'SETTLEMENT' THEN
        PERFORM require_open_book(v_book);
    END IF;
    IF v_book IS NOT NULL AND v_receiver IS NOT NULL THEN
        SELECT x.host_id, x.is_platform INTO c FROM collective x WHERE x.id = v_receiver;
        IF c.host_id IS DISTINCT FROM v_book AND NOT (NEW.kind = 'PLATFORM_TIP' AND c.is_platform) THEN
            RAISE EXCEPTION 'money comes only to a collective that the host holds money for'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'transaction_host';
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER transaction_book_guard BEFORE INSERT ON transaction
FOR EACH ROW EXECUTE FUNCTION transaction_book_guard();
ALTER TABLE transaction ENABLE ALWAYS TRIGGER transaction_book_guard;

-- An order for a balance needs a host behind it. The trigger order_sides_guard has locked both sides before, so
-- that leaving a host and a new order wait for each other.

CREATE OR REPLACE FUNCTION order_sides_hosted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM collective c
    WHERE c.id = CASE NEW.type WHEN 'EXPENSE' THEN NEW.from_id ELSE NEW.to_id END AND c.host_id IS NULL;
    IF FOUND THEN
        RAISE EXCEPTION 'an order for a balance needs a host'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'order_hosted';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER order_sides_hosted BEFORE INSERT ON "order" FOR EACH ROW
WHEN (NEW.type IN ('DONATION', 'ADDED_FUNDS', 'EXPENSE', 'TRANSFER') AND NEW.currency <> 'CUR'
      AND NEW.import_key IS NULL)
EXECUTE FUNCTION order_sides_hosted();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER order_sides_hosted;

-- Hosts and their approval ------------------------------------------------------------------------------
-- A collective joins only an approved host that is not suspended.

CREATE OR REPLACE FUNCTION collective_host_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM require_open_book(NEW.host_id);
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER collective_host_guard_insert AFTER INSERT ON collective FOR EACH ROW
WHEN (NEW.host_id <> NEW.id) EXECUTE FUNCTION collective_host_guard();
ALTER TABLE collective ENABLE ALWAYS TRIGGER collective_host_guard_insert;
CREATE OR REPLACE TRIGGER collective_host_guard_update AFTER UPDATE OF host_id ON collective FOR EACH ROW
WHEN (NEW.host_id <> NEW.id AND OLD.host_id IS DISTINCT FROM NEW.host_id)
EXECUTE FUNCTION collective_host_guard();
ALTER TABLE collective ENABLE ALWAYS TRIGGER collective_host_guard_update;

-- An application to be a host names the applicant as its own host; only an ADMIN of the platform accepts it, or
-- the platform itself, in whose name the operator creates a host on the command line.

CREATE OR REPLACE FUNCTION host_approval_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM collective p LEFT JOIN member m
        ON m.collective_id = p.id AND m.member_id = NEW.decided_by_id AND m.role = 'ADMIN' AND m.until IS NULL
    WHERE p.is_platform AND (p.id = NEW.decided_by_id OR m.id IS NOT NULL);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'only the platform approves a host'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'host_approved_by_platform';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER host_approval_guard BEFORE INSERT OR UPDATE OF status ON host_application FOR EACH ROW
WHEN (NEW.collective_id = NEW.host_id AND NEW.status = 'ACCEPTED') EXECUTE FUNCTION host_approval_guard();
ALTER TABLE host_application ENABLE ALWAYS TRIGGER host_approval_guard;

-- A collective acts as a host only with such an accepted application. Suspension ends by one that is accepted
-- after it.

CREATE OR REPLACE FUNCTION self_hosting_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_since timestamptz := CASE WHEN TG_OP = 'UPDATE' THEN OLD.host_suspended_at END;
BEGIN
    PERFORM FROM host_application a
    WHERE a.collective_id = NEW.id AND a.host_id = NEW.id AND a.status = 'ACCEPTED'
      AND (v_since IS NULL OR a.decided_at >= v_since);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a host has an accepted application'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'host_application_accepted';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER self_hosting_guard_insert AFTER INSERT ON collective FOR EACH ROW
WHEN (NEW.host_id = NEW.id AND NOT NEW.is_platform) EXECUTE FUNCTION self_hosting_guard();
ALTER TABLE collective ENABLE ALWAYS TRIGGER self_hosting_guard_insert;
CREATE OR REPLACE TRIGGER self_hosting_guard_update
AFTER UPDATE OF host_id, host_suspended_at ON collective FOR EACH ROW
WHEN (NEW.host_id = NEW.id AND NOT NEW.is_platform
      AND (OLD.host_id IS DISTINCT FROM NEW.host_id
           OR OLD.host_suspended_at IS NOT NULL AND NEW.host_suspended_at IS NULL))
EXECUTE FUNCTION self_hosting_guard();
ALTER TABLE collective ENABLE ALWAYS TRIGGER self_hosting_guard_update;

-- An answer to an invitation or application is final.

CREATE OR REPLACE FUNCTION request_status_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'an answered request keeps its answer'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'request_status_transition';
END $$;

CREATE OR REPLACE TRIGGER request_status_guard BEFORE UPDATE OF status ON invitation FOR EACH ROW
WHEN (OLD.status <> 'PENDING' AND NEW.status <> OLD.status) EXECUTE FUNCTION request_status_guard();
ALTER TABLE invitation ENABLE ALWAYS TRIGGER request_status_guard;
CREATE OR REPLACE TRIGGER request_status_guard BEFORE UPDATE OF status ON host_application FOR EACH ROW
WHEN (OLD.status <> 'PENDING' AND NEW.status <> OLD.status) EXECUTE FUNCTION request_status_guard();
ALTER TABLE host_application ENABLE ALWAYS TRIGGER request_status_guard;

-- Archived collectives ----------------------------------------------------------------------------------
-- An archived collective gets no events, and nobody joins it. The lock makes archiving and these steps wait
-- for each other.

CREATE OR REPLACE FUNCTION event_parent_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_archived_at timestamptz;
BEGIN
    -- Tested afterwards: a WHERE condition would be tested before the statement waits for the lock.
    SELECT p.archived_at INTO v_archived_at FROM collective p WHERE p.id = NEW.parent_id FOR KEY SHARE;
    IF v_archived_at IS NOT NULL THEN
        RAISE EXCEPTION 'the parent of an open event is open'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'event_parent_open';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER event_parent_guard BEFORE INSERT OR UPDATE OF archived_at ON collective FOR EACH ROW
WHEN (NEW.parent_id IS NOT NULL AND NEW.archived_at IS NULL) EXECUTE FUNCTION event_parent_guard();
ALTER TABLE collective ENABLE ALWAYS TRIGGER event_parent_guard;

CREATE OR REPLACE FUNCTION member_open_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE side record;
BEGIN
    FOR side IN SELECT c.archived_at FROM collective c
                WHERE c.id IN (NEW.collective_id, NEW.member_id) ORDER BY c.id FOR KEY SHARE LOOP
        IF side.archived_at IS NOT NULL THEN
            RAISE EXCEPTION 'nobody joins an archived collective, and no archived user joins any'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'member_sides_open';
        END IF;
    END LOOP;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER member_open_guard BEFORE INSERT ON member FOR EACH ROW
WHEN (NEW.until IS NULL
      AND NEW.role IN ('ADMIN', 'ACCOUNTANT', 'MEMBER', 'ATTENDEE', 'WAITING', 'FOLLOWER', 'HOST'))
EXECUTE FUNCTION member_open_guard();
ALTER TABLE member ENABLE ALWAYS TRIGGER member_open_guard;

-- An order is approved, paid or refunded only while its sides are open, and its event with them.

CREATE OR REPLACE FUNCTION order_step_open_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM collective c WHERE c.id IN (NEW.from_id, NEW.to_id, NEW.event_id) AND c.archived_at IS NOT NULL;
    IF FOUND THEN
        RAISE EXCEPTION 'a side of this order is archived'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'transaction_sides_open';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER order_step_open_guard BEFORE UPDATE OF status ON "order" FOR EACH ROW
WHEN (NEW.status <> OLD.status AND NEW.status IN ('APPROVED', 'PAID') AND NEW.import_key IS NULL)
EXECUTE FUNCTION order_step_open_guard();
ALTER TABLE "order" ENABLE ALWAYS TRIGGER order_step_open_guard;

REVOKE ALL ON FUNCTION order_step_open_guard(), book_state(uuid), require_open_book(uuid),
    lock_book(uuid), account_book_guard(), transaction_book_guard(), order_sides_hosted(), collective_host_guard(),
    host_approval_guard(), self_hosting_guard(), request_status_guard(), event_parent_guard(), member_open_guard()
    FROM PUBLIC, commonweal_app;
GRANT EXECUTE ON FUNCTION lock_book(uuid) TO commonweal_app;
