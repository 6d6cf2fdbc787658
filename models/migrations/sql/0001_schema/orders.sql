-- Orders, their history, and how they are paid.

-- A way in which a host receives money, and its fees. Archived, never changed.
CREATE TABLE payment_method (
    id uuid CONSTRAINT pk_payment_method PRIMARY KEY,
    host_id uuid NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    fee_bps integer NOT NULL,
    fee_fixed_minor bigint NOT NULL,  -- In minor units of the host's currency.
    created_by_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    CONSTRAINT ck_payment_method_kind_known CHECK (kind IN ('BALANCE', 'MANUAL')),
    CONSTRAINT ck_payment_method_fee_bps_range CHECK (fee_bps BETWEEN 0 AND 10000),
    CONSTRAINT ck_payment_method_fee_fixed_not_negative CHECK (fee_fixed_minor >= 0)
);

-- A payee's account for payouts. Archived, never changed.
CREATE TABLE payout_method (
    id uuid CONSTRAINT pk_payout_method PRIMARY KEY,
    owner_id uuid NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    -- Private: visible to the owner's admins and to admins of a host that pays it.
    details jsonb NOT NULL DEFAULT '{}',
    created_by_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    CONSTRAINT ck_payout_method_kind_known CHECK (
        kind IN ('BALANCE', 'MANUAL', 'BANK_ACCOUNT', 'PAYPAL', 'OTHER'))
);

-- An intent to move money or time. Amounts in minor units of `currency`, the currency of `to`.
CREATE TABLE "order" (
    id uuid CONSTRAINT pk_order PRIMARY KEY,
    type text NOT NULL,
    status text NOT NULL,
    created_by_id uuid,
    from_id uuid NOT NULL,
    to_id uuid NOT NULL,
    currency text NOT NULL,
    amount bigint NOT NULL,
    approved_amount bigint,
    description text,
    private_message text,
    payment_method_kind text,
    payment_method_id uuid,
    payout_method_kind text,
    payout_method_id uuid,
    fees_payer text,
    host_fee_bps integer,
    platform_fee_bps integer NOT NULL,  -- The platform's fee when the order was created.
    event_id uuid,
    offer_id uuid,
    policy_id uuid,  -- The platform's policy when the order was created, if the order depends on it.
    starts_at timestamptz,  -- The volunteered time; HOURS orders have both.
    ends_at timestamptz,
    addressed_to_id uuid,  -- The admin whom the volunteer asks for approval; null asks every ADMIN.
    receipts text[] NOT NULL DEFAULT '{}',
    -- True if at least one side is not a user; such orders become public once approved.
    has_public_side boolean NOT NULL DEFAULT true,
    -- True for added funds of unknown origin; `from` is then the host that adds them.
    origin_unknown boolean NOT NULL DEFAULT false,
    import_key text,  -- Identifies the imported collective and group of rows; unique.
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ck_order_type_known CHECK (
        type IN ('DONATION', 'ADDED_FUNDS', 'EXPENSE', 'HOURS', 'REDEMPTION', 'TRANSFER', 'CASH_OUT',
                 'BONUS')),
    CONSTRAINT ck_order_status_known CHECK (
        status IN ('PENDING', 'APPROVED', 'REJECTED', 'PAID', 'CANCELLED', 'EXPIRED', 'FAILED', 'REFUNDED')),
    CONSTRAINT ck_order_payment_method_kind_known CHECK (payment_method_kind IN ('BALANCE', 'MANUAL')),
    CONSTRAINT ck_order_payout_method_kind_known CHECK (
        payout_method_kind IN ('BALANCE', 'MANUAL', 'BANK_ACCOUNT', 'PAYPAL', 'OTHER')),
    CONSTRAINT ck_order_fees_payer_known CHECK (fees_payer IN ('PAYER', 'PAYEE')),
    CONSTRAINT ck_order_amount_positive CHECK (amount > 0),
    CONSTRAINT ck_order_approved_amount_positive CHECK (approved_amount > 0),
    CONSTRAINT ck_order_host_fee_bps_range CHECK (host_fee_bps BETWEEN 0 AND 10000),
    CONSTRAINT ck_order_platform_fee_bps_range CHECK (platform_fee_bps BETWEEN 0 AND 10000),
    CONSTRAINT ck_order_two_sides CHECK (from_id <> to_id OR type IN ('CASH_OUT', 'ADDED_FUNDS')),
    CONSTRAINT ck_order_time_is_in_currents CHECK (
        type NOT IN ('HOURS', 'REDEMPTION', 'BONUS') OR currency = 'CUR'),
    CONSTRAINT ck_order_hours_have_times CHECK (
        (type = 'HOURS') = (starts_at IS NOT NULL) AND (type = 'HOURS') = (ends_at IS NOT NULL)),
    CONSTRAINT ck_order_ends_after_start CHECK (ends_at > starts_at),
    CONSTRAINT ck_order_redemption_has_offer CHECK ((type = 'REDEMPTION') = (offer_id IS NOT NULL)),
    CONSTRAINT ck_order_pins_policy CHECK (
        type NOT IN ('HOURS', 'REDEMPTION', 'BONUS') OR policy_id IS NOT NULL)
);

-- A line of an expense; the lines add up to the order's submitted amount.
CREATE TABLE order_item (
    order_id uuid NOT NULL,
    position integer NOT NULL,
    description text NOT NULL,
    amount bigint NOT NULL,
    CONSTRAINT pk_order_item PRIMARY KEY (order_id, position),
    CONSTRAINT ck_order_item_amount_positive CHECK (amount > 0)
);

-- A step in an order's history. Append-only.
CREATE TABLE order_action (
    id uuid CONSTRAINT pk_order_action PRIMARY KEY,
    order_id uuid NOT NULL,
    type text NOT NULL,
    actor_id uuid,  -- The user who acted; null for the server itself.
    at timestamptz NOT NULL DEFAULT now(),
    from_status text,
    to_status text NOT NULL,
    amount bigint,
    reason text,
    CONSTRAINT ck_order_action_type_known CHECK (
        type IN ('CREATE', 'APPROVE', 'REJECT', 'PAY', 'CANCEL', 'EXPIRE', 'REFUND')),
    CONSTRAINT ck_order_action_from_status_known CHECK (
        from_status IN ('PENDING', 'APPROVED', 'REJECTED', 'PAID', 'CANCELLED', 'EXPIRED', 'FAILED',
                        'REFUNDED')),
    CONSTRAINT ck_order_action_to_status_known CHECK (
        to_status IN ('PENDING', 'APPROVED', 'REJECTED', 'PAID', 'CANCELLED', 'EXPIRED', 'FAILED',
                      'REFUNDED'))
);

-- A used idempotency key: the same key and payload return `result_id` again.
CREATE TABLE idempotency (
    actor_id uuid NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,  -- SHA-256 of the mutation's name and input.
    result_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_idempotency PRIMARY KEY (actor_id, key)
);
