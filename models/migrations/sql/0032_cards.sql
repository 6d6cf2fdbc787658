-- A recurring gift by card has the card with which each period is paid. Until the first payment has come, it waits.
ALTER TABLE subscription
    ADD COLUMN instrument_id uuid CONSTRAINT fk_subscription_instrument_id REFERENCES instrument (id),
    DROP CONSTRAINT ck_subscription_payment_method_kind_known,
    ADD CONSTRAINT ck_subscription_payment_method_kind_known CHECK (
        payment_method_kind IN ('BALANCE', 'MANUAL', 'PROVIDER')),
    DROP CONSTRAINT ck_subscription_status_known,
    ADD CONSTRAINT ck_subscription_status_known CHECK (
        status IN ('PENDING', 'ACTIVE', 'PAST_DUE', 'PAUSED', 'CANCELLED', 'ENDED')),
    DROP CONSTRAINT ck_subscription_open_is_due,
    ADD CONSTRAINT ck_subscription_open_is_due CHECK (
        status IN ('PENDING', 'PAUSED', 'CANCELLED', 'ENDED') OR due_at IS NOT NULL),
    ADD CONSTRAINT ck_subscription_pending_waits CHECK (
        status <> 'PENDING' OR payment_method_kind = 'PROVIDER' AND due_at IS NULL AND instrument_id IS NULL),
    ADD CONSTRAINT ck_subscription_card_of_provider CHECK (
        CASE WHEN payment_method_kind <> 'PROVIDER' THEN instrument_id IS NULL
        ELSE payment_method_id IS NOT NULL
             AND (instrument_id IS NOT NULL OR status NOT IN ('ACTIVE', 'PAST_DUE', 'PAUSED', 'ENDED')) END);
GRANT UPDATE (instrument_id) ON subscription TO commonweal_app;

-- A card is charged by the server alone: its payment is stored before the provider is asked, and named by its answer.
ALTER TABLE provider_payment
    ALTER COLUMN external_id DROP NOT NULL,
    ADD COLUMN asked_at timestamptz,  -- When the provider was last asked to charge the card.
    ADD CONSTRAINT ck_provider_payment_paid_is_known CHECK (external_id IS NOT NULL OR status IN ('OPEN', 'CANCELLED'));
GRANT UPDATE (external_id, asked_at) ON provider_payment TO commonweal_app;
