-- Gifts that repeat every month or year. Each period of one has a single order.

CREATE TABLE subscription (
    id uuid CONSTRAINT pk_subscription PRIMARY KEY,
    from_id uuid NOT NULL CONSTRAINT fk_subscription_from_id REFERENCES collective (id),
    to_id uuid NOT NULL CONSTRAINT fk_subscription_to_id REFERENCES collective (id),
    tier_id uuid CONSTRAINT fk_subscription_tier_id REFERENCES tier (id),
    quantity integer,
    currency text NOT NULL CONSTRAINT fk_subscription_currency REFERENCES currency (code),
    amount_minor bigint NOT NULL,
    interval text NOT NULL,
    anchor_day integer NOT NULL,
    timezone text NOT NULL,
    payment_method_kind text NOT NULL,
    payment_method_id uuid CONSTRAINT fk_subscription_payment_method_id REFERENCES payment_method (id),
    description text,
    status text NOT NULL,
    starts_on date NOT NULL,
    next_charge_on date NOT NULL,
    ends_after date,
    due_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    failed_on date,
    delays integer NOT NULL DEFAULT 0,
    is_anchor_changed boolean NOT NULL DEFAULT false,
    paused_by text,
    pause_reason text,
    resumes_on date,
    ended_at timestamptz,
    ended_reason text,
    notice text,
    created_by_id uuid NOT NULL CONSTRAINT fk_subscription_created_by_id REFERENCES collective (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ck_subscription_interval_known CHECK (interval IN ('MONTH', 'YEAR')),
    CONSTRAINT ck_subscription_status_known CHECK (
        status IN ('ACTIVE', 'PAST_DUE', 'PAUSED', 'CANCELLED', 'ENDED')),
    CONSTRAINT ck_subscription_payment_method_kind_known CHECK (payment_method_kind IN ('BALANCE', 'MANUAL')),
    CONSTRAINT ck_subscription_paused_by_known CHECK (paused_by IN ('PAYER', 'PAYEE', 'HOST', 'PLATFORM')),
    CONSTRAINT ck_subscription_notice_known CHECK (
        notice IN ('ARCHIVED', 'HOST_LEFT', 'HOST_SUSPENDED', 'USER_SUSPENDED')),
    CONSTRAINT ck_subscription_two_sides CHECK (from_id <> to_id),
    CONSTRAINT ck_subscription_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT ck_subscription_is_of_money CHECK (currency <> 'CUR'),
    CONSTRAINT ck_subscription_tier_has_quantity CHECK (
        (tier_id IS NULL) = (quantity IS NULL) AND quantity BETWEEN 1 AND 1000),
    CONSTRAINT ck_subscription_anchor_day_of_month CHECK (anchor_day BETWEEN 1 AND 31),
    CONSTRAINT ck_subscription_counts_not_negative CHECK (failures >= 0 AND delays >= 0),
    CONSTRAINT ck_subscription_paused_by_somebody CHECK (
        (status = 'PAUSED') = (paused_by IS NOT NULL)
        AND (status = 'PAUSED' OR pause_reason IS NULL AND resumes_on IS NULL)),
    CONSTRAINT ck_subscription_past_due_since CHECK ((status = 'PAST_DUE') = (failed_on IS NOT NULL)),
    CONSTRAINT ck_subscription_ended_has_time CHECK ((status IN ('CANCELLED', 'ENDED')) = (ended_at IS NOT NULL)),
    CONSTRAINT ck_subscription_open_is_due CHECK (
        status IN ('PAUSED', 'CANCELLED', 'ENDED') OR due_at IS NOT NULL),
    CONSTRAINT ck_subscription_ends_after_start CHECK (ends_after >= starts_on)
);
CREATE INDEX ix_subscription_due_at ON subscription (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX ix_subscription_from_id ON subscription (from_id, created_at, id);
CREATE INDEX ix_subscription_to_id ON subscription (to_id, created_at, id);
CREATE INDEX ix_subscription_tier_id ON subscription (tier_id, from_id) WHERE tier_id IS NOT NULL;
GRANT SELECT, INSERT ON subscription TO commonweal_app;
GRANT UPDATE (tier_id, quantity, amount_minor, anchor_day, payment_method_kind, payment_method_id, status,
              next_charge_on, due_at, failures, failed_on, delays, is_anchor_changed, paused_by, pause_reason,
              resumes_on, ended_at, ended_reason, notice, updated_at) ON subscription TO commonweal_app;

ALTER TABLE "order"
    ADD COLUMN subscription_id uuid,
    ADD COLUMN period date,
    ADD CONSTRAINT fk_order_subscription_id FOREIGN KEY (subscription_id) REFERENCES subscription (id),
    ADD CONSTRAINT ck_order_subscription_has_period CHECK (
        (subscription_id IS NULL) = (period IS NULL) AND (subscription_id IS NULL OR type = 'DONATION'));
CREATE UNIQUE INDEX uq_order_subscription_id_period ON "order" (subscription_id, period)
    WHERE subscription_id IS NOT NULL;

ALTER TABLE order_action
    DROP CONSTRAINT ck_order_action_type_known,
    ADD CONSTRAINT ck_order_action_type_known CHECK (
        type IN ('CREATE', 'EDIT', 'APPROVE', 'REJECT', 'PAY', 'CANCEL', 'EXPIRE', 'REFUND', 'CONFIRM', 'DENY', 'FAIL'));

ALTER TABLE tier
    ADD COLUMN interval text,
    ADD CONSTRAINT ck_tier_interval_known CHECK (interval IN ('MONTH', 'YEAR')),
    ADD CONSTRAINT ck_tier_ticket_sold_once CHECK (interval IS NULL OR type <> 'TICKET');
GRANT UPDATE (interval) ON tier TO commonweal_app;

-- How a refused period is paid may change; the guard of terms says when.
GRANT UPDATE (payment_method_kind, payment_method_id) ON "order" TO commonweal_app;
