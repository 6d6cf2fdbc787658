-- Currencies, exchange rates, and the platform's terms.

-- A currency of ISO 4217, or CUR, the time currency.
CREATE TABLE currency (
    code text CONSTRAINT pk_currency PRIMARY KEY,
    name text NOT NULL,
    exponent integer NOT NULL,  -- Decimal places of the minor unit: JPY 0, USD 2, KWD 3.
    kind text NOT NULL,
    CONSTRAINT ck_currency_kind_known CHECK (kind IN ('FIAT', 'TIME')),
    CONSTRAINT ck_currency_exponent_range CHECK (exponent BETWEEN 0 AND 4)
);

-- The price of one unit of `base` in `quote`, in major units, from `valid_from` on. Append-only.
CREATE TABLE fx_rate (
    id uuid CONSTRAINT pk_fx_rate PRIMARY KEY,
    base text NOT NULL,
    quote text NOT NULL,
    rate numeric NOT NULL,
    valid_from timestamptz NOT NULL,
    source text NOT NULL,  -- The rate's source: ECB, or the slug of a platform admin.
    CONSTRAINT ck_fx_rate_rate_positive CHECK (rate > 0),
    CONSTRAINT ck_fx_rate_two_currencies CHECK (base <> quote)
);

-- The platform's terms from `valid_from` on. Append-only: an order keeps the row it was made under.
CREATE TABLE platform_policy (
    id uuid CONSTRAINT pk_platform_policy PRIMARY KEY,
    valid_from timestamptz NOT NULL DEFAULT now(),
    platform_fee_bps integer NOT NULL,
    -- The discount that one current buys at a business, in dollars.
    usd_per_current numeric NOT NULL DEFAULT 20,
    -- The platform's share of the dollars that a redemption pays out.
    redemption_fee_bps integer NOT NULL DEFAULT 1000,
    -- The most currents (minor units) that a user may redeem on master offers within seven days.
    master_weekly_limit_minor bigint NOT NULL DEFAULT 625,
    -- Currents (minor units) issued to a user who claims their account; 0 for none.
    signup_bonus_minor bigint NOT NULL DEFAULT 0,
    check_in_minutes integer NOT NULL DEFAULT 60,  -- Minutes before an event's start at which check-in opens.
    created_by_id uuid,
    CONSTRAINT ck_platform_policy_platform_fee_bps_range CHECK (platform_fee_bps BETWEEN 0 AND 10000),
    CONSTRAINT ck_platform_policy_redemption_fee_bps_range CHECK (redemption_fee_bps BETWEEN 0 AND 10000),
    CONSTRAINT ck_platform_policy_usd_per_current_positive CHECK (usd_per_current > 0),
    CONSTRAINT ck_platform_policy_master_weekly_limit_positive CHECK (master_weekly_limit_minor > 0),
    CONSTRAINT ck_platform_policy_signup_bonus_not_negative CHECK (signup_bonus_minor >= 0),
    CONSTRAINT ck_platform_policy_check_in_minutes_not_negative CHECK (check_in_minutes >= 0)
);
