-- The rights of the application's role. It may read everything and write what is listed here. It writes the
-- ledger's tables only through the functions of functions/ledger_posting.sql.

DO $$
BEGIN
    CREATE ROLE commonweal_app LOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server created it
END $$;
DO $$
BEGIN
    EXECUTE format('GRANT commonweal_app TO %I', current_user);
EXCEPTION WHEN OTHERS THEN NULL;  -- a superuser needs no grant, and a concurrent migration may race this one
END $$;

GRANT USAGE ON SCHEMA public TO commonweal_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO commonweal_app;

GRANT INSERT ON
    fx_rate, platform_policy,
    collective, slug_redirect, member, invitation, host_application,
    credential, email_token, token, merged_email, throttle,
    payment_method, payout_method, "order", order_item, order_action, idempotency,
    offer, receipt, redemption, attendance, issuance_cap,
    outbox, muted_topic
    TO commonweal_app;

GRANT UPDATE ON
    collective, slug_redirect, invitation, host_application,
    credential, email_token, throttle,
    offer, outbox
    TO commonweal_app;
GRANT UPDATE (until) ON member TO commonweal_app;
GRANT UPDATE (revoked_at) ON token TO commonweal_app;
GRANT UPDATE (archived_at) ON payment_method, payout_method TO commonweal_app;
-- The terms of an order never change; its progress does.
GRANT UPDATE (status, approved_amount, ends_at, updated_at, expires_at) ON "order" TO commonweal_app;
GRANT UPDATE (approved_price_minor, usd_gross_minor, usd_fee_minor, caps) ON redemption TO commonweal_app;
GRANT UPDATE (checked_out_at) ON attendance TO commonweal_app;

GRANT DELETE ON credential, muted_topic TO commonweal_app;
GRANT INSERT, UPDATE, DELETE ON rate_bucket TO commonweal_app;
