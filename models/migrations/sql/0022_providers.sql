-- Payments through a provider: a host's account there, the payments of orders, refunds, and what the provider tells.

CREATE TABLE provider_account (
    id uuid CONSTRAINT pk_provider_account PRIMARY KEY,
    host_id uuid NOT NULL CONSTRAINT fk_provider_account_host_id REFERENCES collective (id),
    provider text NOT NULL,
    external_id text,
    status text NOT NULL,
    livemode boolean NOT NULL,
    connect_state text,  -- What the provider sends back with the host's consent; known to nobody else.
    away_since timestamptz,  -- Since when the provider has not answered.
    created_by_id uuid NOT NULL CONSTRAINT fk_provider_account_created_by_id REFERENCES collective (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ck_provider_account_provider_known CHECK (provider IN ('FAKE', 'STRIPE')),
    CONSTRAINT ck_provider_account_status_known CHECK (status IN ('PENDING', 'ACTIVE', 'DISABLED')),
    CONSTRAINT ck_provider_account_active_is_known CHECK (status <> 'ACTIVE' OR external_id IS NOT NULL),
    CONSTRAINT ck_provider_account_fake_is_no_money CHECK (provider <> 'FAKE' OR NOT livemode),
    CONSTRAINT uq_provider_account_provider_external_id UNIQUE (provider, external_id),
    CONSTRAINT uq_provider_account_id_host_id_provider UNIQUE (id, host_id, provider)
);
CREATE UNIQUE INDEX uq_provider_account_host_id ON provider_account (host_id, provider) WHERE status <> 'DISABLED';
GRANT SELECT, INSERT ON provider_account TO commonweal_app;
GRANT UPDATE (external_id, status, livemode, connect_state, away_since, updated_at) ON provider_account TO commonweal_app;

ALTER TABLE payment_method
    ADD COLUMN provider_account_id uuid,
    ADD COLUMN provider text,
    ADD CONSTRAINT fk_payment_method_provider_account_id FOREIGN KEY (provider_account_id, host_id, provider)
        REFERENCES provider_account (id, host_id, provider),
    ADD CONSTRAINT ck_payment_method_provider_known CHECK (provider IN ('FAKE', 'STRIPE')),
    DROP CONSTRAINT ck_payment_method_kind_known,
    ADD CONSTRAINT ck_payment_method_kind_known CHECK (kind IN ('BALANCE', 'MANUAL', 'PROVIDER')),
    ADD CONSTRAINT ck_payment_method_provider_has_account CHECK (
        (kind = 'PROVIDER') = (provider_account_id IS NOT NULL)
        AND (provider IS NULL) = (provider_account_id IS NULL));
ALTER TABLE "order"
    DROP CONSTRAINT ck_order_payment_method_kind_known,
    ADD CONSTRAINT ck_order_payment_method_kind_known CHECK (payment_method_kind IN ('BALANCE', 'MANUAL', 'PROVIDER')),
    ADD CONSTRAINT ck_order_provider_of_donation CHECK (
        payment_method_kind <> 'PROVIDER' OR type = 'DONATION' AND payment_method_id IS NOT NULL);
ALTER TABLE order_action
    DROP CONSTRAINT ck_order_action_type_known,
    ADD CONSTRAINT ck_order_action_type_known CHECK (
        type IN ('CREATE', 'EDIT', 'APPROVE', 'REJECT', 'PAY', 'CANCEL', 'EXPIRE', 'REFUND', 'CONFIRM', 'DENY',
                 'FAIL', 'DISPUTE', 'DISPUTE_END'));

-- A giver's card or the like, kept by the provider; here are only the few facts by which people know it.
CREATE TABLE instrument (
    id uuid CONSTRAINT pk_instrument PRIMARY KEY,
    owner_id uuid NOT NULL CONSTRAINT fk_instrument_owner_id REFERENCES collective (id),
    provider_account_id uuid NOT NULL CONSTRAINT fk_instrument_provider_account_id REFERENCES provider_account (id),
    external_id text NOT NULL,
    customer_id text,  -- The provider's id of the owner.
    brand text NOT NULL,
    last4 text NOT NULL,
    expires_on date,
    created_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    CONSTRAINT ck_instrument_last4_is_four_digits CHECK (last4 ~ '^[0-9]{4}$'),
    CONSTRAINT ck_instrument_brand_short CHECK (length(brand) BETWEEN 1 AND 50)
);
CREATE UNIQUE INDEX uq_instrument_external_id ON instrument (provider_account_id, external_id, owner_id);
CREATE INDEX ix_instrument_owner_id ON instrument (owner_id, created_at);
GRANT SELECT, INSERT ON instrument TO commonweal_app;
GRANT UPDATE (archived_at) ON instrument TO commonweal_app;

CREATE TABLE provider_payment (
    order_id uuid CONSTRAINT pk_provider_payment PRIMARY KEY
        CONSTRAINT fk_provider_payment_order_id REFERENCES "order" (id),
    provider_account_id uuid NOT NULL CONSTRAINT fk_provider_payment_provider_account_id REFERENCES provider_account (id),
    external_id text NOT NULL,
    client_secret text,  -- With it a giver pays, and nothing else; null once the payment has ended.
    redirect_url text,
    instrument_id uuid CONSTRAINT fk_provider_payment_instrument_id REFERENCES instrument (id),
    status text NOT NULL,
    failure text,
    dispute_id text,  -- The provider's.
    dispute_status text,
    dispute_fee_minor bigint,  -- In minor units of the host's currency.
    is_dispute_held boolean,  -- False if neither the payee nor its host had enough to set aside.
    is_dispute_posted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ck_provider_payment_status_known CHECK (
        status IN ('OPEN', 'PROCESSING', 'SUCCEEDED', 'FAILED', 'CANCELLED')),
    CONSTRAINT ck_provider_payment_dispute_status_known CHECK (dispute_status IN ('OPEN', 'WON', 'LOST')),
    CONSTRAINT ck_provider_payment_dispute_is_whole CHECK (
        num_nulls(dispute_id, dispute_status, dispute_fee_minor, is_dispute_held) IN (0, 4)
        AND dispute_fee_minor >= 0 AND (NOT is_dispute_posted OR dispute_status = 'LOST')),
    CONSTRAINT uq_provider_payment_external_id UNIQUE (provider_account_id, external_id)
);
CREATE INDEX ix_provider_payment_open ON provider_payment (created_at) WHERE status IN ('OPEN', 'PROCESSING');
CREATE INDEX ix_provider_payment_dispute ON provider_payment (order_id) WHERE dispute_status IS NOT NULL;
GRANT SELECT, INSERT ON provider_payment TO commonweal_app;
GRANT UPDATE (client_secret, redirect_url, instrument_id, status, failure, dispute_id, dispute_status, dispute_fee_minor,
              is_dispute_held, is_dispute_posted, updated_at) ON provider_payment TO commonweal_app;

CREATE TABLE provider_refund (
    id uuid CONSTRAINT pk_provider_refund PRIMARY KEY,
    order_id uuid NOT NULL CONSTRAINT fk_provider_refund_order_id REFERENCES provider_payment (order_id),
    external_id text,
    amount_minor bigint NOT NULL,  -- In minor units of the order's currency.
    status text NOT NULL,
    is_stray boolean NOT NULL,  -- True if no Transaction is taken back: the order had ended when the money came.
    reason text,
    failure text,
    requested_by_id uuid CONSTRAINT fk_provider_refund_requested_by_id REFERENCES collective (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ck_provider_refund_status_known CHECK (status IN ('REQUESTED', 'SENT', 'CONFIRMED', 'FAILED')),
    CONSTRAINT ck_provider_refund_amount_positive CHECK (amount_minor > 0)
);
CREATE UNIQUE INDEX uq_provider_refund_external_id ON provider_refund (order_id, external_id);
CREATE UNIQUE INDEX uq_provider_refund_open ON provider_refund (order_id) WHERE status IN ('REQUESTED', 'SENT');
GRANT SELECT, INSERT ON provider_refund TO commonweal_app;
GRANT UPDATE (external_id, status, failure, updated_at) ON provider_refund TO commonweal_app;

-- What a provider told, word for word, once.
CREATE TABLE provider_event (
    id uuid CONSTRAINT pk_provider_event PRIMARY KEY,
    provider text NOT NULL,
    external_id text NOT NULL,
    type text NOT NULL,
    body jsonb NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    processed_at timestamptz,
    error text,
    CONSTRAINT ck_provider_event_provider_known CHECK (provider IN ('FAKE', 'STRIPE')),
    CONSTRAINT ck_provider_event_body_bounded CHECK (pg_column_size(body) <= 262144),
    CONSTRAINT uq_provider_event_provider_external_id UNIQUE (provider, external_id)
);
CREATE INDEX ix_provider_event_waiting ON provider_event (received_at) WHERE processed_at IS NULL;
GRANT SELECT, INSERT ON provider_event TO commonweal_app;
GRANT UPDATE (processed_at, error) ON provider_event TO commonweal_app;

-- A disputed payment may set money aside on two balances: the payee's and its host's.
DROP INDEX uq_hold_open;
CREATE UNIQUE INDEX uq_hold_open ON hold (order_id, book_id, account_id) WHERE released_at IS NULL;
