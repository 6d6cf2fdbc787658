-- Offers and redemptions, attendance at events, and caps on issuance.

-- A business's offer to accept currents for part of an item's price. Deactivated, never deleted.
CREATE TABLE offer (
    id uuid CONSTRAINT pk_offer PRIMARY KEY,
    business_id uuid NOT NULL,
    item text NOT NULL,
    description text,
    currents_share_percent integer NOT NULL,  -- The part of the price that can be paid in currents.
    -- Redemptions allowed per calendar month in the business's time zone; null for no limit.
    monthly_limit integer,
    -- True if it covers any purchase at the business, within the weekly limit of the platform's policy.
    is_master boolean NOT NULL DEFAULT false,
    is_active boolean NOT NULL DEFAULT true,
    is_featured boolean NOT NULL DEFAULT false,  -- True if a platform admin lists it first.
    created_by_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ck_offer_share_range CHECK (currents_share_percent BETWEEN 5 AND 100),
    CONSTRAINT ck_offer_monthly_limit_positive CHECK (monthly_limit >= 1)
);

-- A file that proves a purchase or expense; its bytes lie in the data folder, named by their SHA-256.
CREATE TABLE receipt (
    id uuid CONSTRAINT pk_receipt PRIMARY KEY,
    owner_id uuid NOT NULL,
    content_type text NOT NULL,
    size_bytes integer NOT NULL,
    sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ck_receipt_size_positive CHECK (size_bytes > 0)
);

-- The dollar side of a REDEMPTION order, in minor units (cents).
CREATE TABLE redemption (
    order_id uuid CONSTRAINT pk_redemption PRIMARY KEY,
    price_minor bigint NOT NULL,  -- The price of the purchase as the user entered it.
    approved_price_minor bigint,  -- The price as the business corrected it at approval.
    currents_share_percent integer NOT NULL,  -- The offer's share when the order was created.
    is_master boolean NOT NULL,  -- True if the offer was a master offer when the order was created.
    usd_gross_minor bigint NOT NULL,  -- The value of the currents under the order's policy.
    usd_fee_minor bigint NOT NULL,  -- The platform's share of `usd_gross_minor`.
    caps text[] NOT NULL DEFAULT '{}',  -- The caps that reduced the number of currents.
    place text,  -- Where the purchase took place, for master offers.
    receipt_text text,
    receipt_id uuid,
    CONSTRAINT ck_redemption_price_positive CHECK (price_minor > 0),
    CONSTRAINT ck_redemption_approved_price_positive CHECK (approved_price_minor > 0),
    CONSTRAINT ck_redemption_share_range CHECK (currents_share_percent BETWEEN 5 AND 100),
    CONSTRAINT ck_redemption_usd_gross_positive CHECK (usd_gross_minor > 0),
    CONSTRAINT ck_redemption_usd_fee_range CHECK (usd_fee_minor BETWEEN 0 AND usd_gross_minor),
    CONSTRAINT ck_redemption_usd_gross_within_share CHECK (
        usd_gross_minor
        <= round(coalesce(approved_price_minor, price_minor)::numeric * currents_share_percent / 100.0)),
    CONSTRAINT ck_redemption_has_receipt CHECK (receipt_text IS NOT NULL OR receipt_id IS NOT NULL)
);

-- A user's attendance at an event, with the order that credits the hours.
CREATE TABLE attendance (
    event_id uuid NOT NULL,
    user_id uuid NOT NULL,
    order_id uuid NOT NULL,
    checked_in_at timestamptz NOT NULL DEFAULT now(),
    checked_in_by_id uuid NOT NULL,
    checked_out_at timestamptz,
    CONSTRAINT pk_attendance PRIMARY KEY (event_id, user_id),
    CONSTRAINT uq_attendance_order_id UNIQUE (order_id),
    CONSTRAINT ck_attendance_out_after_in CHECK (checked_out_at >= checked_in_at)
);

-- The most currents a nonprofit may issue per period, from `valid_from` on. Append-only.
CREATE TABLE issuance_cap (
    id uuid CONSTRAINT pk_issuance_cap PRIMARY KEY,
    nonprofit_id uuid NOT NULL,
    period text NOT NULL,
    amount_minor bigint,  -- Minor units of CUR; null removes the cap.
    valid_from timestamptz NOT NULL DEFAULT now(),
    created_by_id uuid,
    CONSTRAINT ck_issuance_cap_period_known CHECK (period IN ('WEEK', 'MONTH', 'YEAR')),
    CONSTRAINT ck_issuance_cap_amount_not_negative CHECK (amount_minor >= 0)
);
