-- What a collective asks its givers for: tiers with a price and a number of places, and goals.

CREATE TABLE tier (
    id uuid CONSTRAINT pk_tier PRIMARY KEY,
    collective_id uuid NOT NULL CONSTRAINT fk_tier_collective_id REFERENCES collective (id),
    type text NOT NULL,
    name text NOT NULL,
    description text,
    pricing text NOT NULL,
    currency text NOT NULL CONSTRAINT fk_tier_currency REFERENCES currency (code),
    amount_minor bigint,
    minimum_minor bigint,
    presets_minor bigint[] NOT NULL DEFAULT '{}',
    capacity integer,
    max_per_person integer,
    goal_minor bigint,
    sold integer NOT NULL DEFAULT 0,  -- Written by the triggers of orders alone.
    opens_at timestamptz,
    closes_at timestamptz,
    position integer NOT NULL DEFAULT 0,
    archived_at timestamptz,
    created_by_id uuid NOT NULL CONSTRAINT fk_tier_created_by_id REFERENCES collective (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ck_tier_type_known CHECK (type IN ('DONATION', 'MEMBERSHIP', 'TICKET', 'PRODUCT')),
    CONSTRAINT ck_tier_pricing_known CHECK (pricing IN ('FIXED', 'FLEXIBLE')),
    CONSTRAINT ck_tier_amounts_positive CHECK (
        amount_minor > 0 AND minimum_minor > 0 AND goal_minor > 0 AND 0 < ALL (presets_minor)),
    CONSTRAINT ck_tier_fixed_has_amount CHECK (
        pricing <> 'FIXED' OR amount_minor IS NOT NULL AND minimum_minor IS NULL AND presets_minor = '{}'),
    CONSTRAINT ck_tier_at_least_minimum CHECK (
        amount_minor >= minimum_minor AND coalesce(minimum_minor, 0) <= ALL (presets_minor)),
    CONSTRAINT ck_tier_few_presets CHECK (cardinality(presets_minor) <= 6),
    CONSTRAINT ck_tier_capacity_positive CHECK (capacity > 0 AND max_per_person > 0),
    CONSTRAINT ck_tier_sold_within_capacity CHECK (sold >= 0 AND sold <= coalesce(capacity, sold)),
    CONSTRAINT ck_tier_closes_after_opening CHECK (closes_at > opens_at)
);
CREATE INDEX ix_tier_collective_id ON tier (collective_id, position, id);
GRANT SELECT, INSERT ON tier TO commonweal_app;
GRANT UPDATE (name, description, pricing, amount_minor, minimum_minor, presets_minor, capacity, max_per_person,
              goal_minor, opens_at, closes_at, position, archived_at, updated_at) ON tier TO commonweal_app;

ALTER TABLE "order"
    ADD COLUMN tier_id uuid,
    ADD COLUMN quantity integer,
    ADD CONSTRAINT fk_order_tier_id FOREIGN KEY (tier_id) REFERENCES tier (id),
    ADD CONSTRAINT ck_order_tier_has_quantity CHECK (
        (tier_id IS NULL) = (quantity IS NULL) AND quantity BETWEEN 1 AND 1000),
    ADD CONSTRAINT ck_order_tier_of_donation CHECK (tier_id IS NULL OR type = 'DONATION');
CREATE INDEX ix_order_tier_id ON "order" (tier_id, from_id) WHERE tier_id IS NOT NULL;

CREATE TABLE goal (
    id uuid CONSTRAINT pk_goal PRIMARY KEY,
    collective_id uuid NOT NULL CONSTRAINT fk_goal_collective_id REFERENCES collective (id),
    kind text NOT NULL,
    currency text NOT NULL CONSTRAINT fk_goal_currency REFERENCES currency (code),
    amount_minor bigint NOT NULL,
    created_by_id uuid NOT NULL CONSTRAINT fk_goal_created_by_id REFERENCES collective (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    CONSTRAINT ck_goal_kind_known CHECK (kind IN ('BALANCE', 'RAISED')),
    CONSTRAINT ck_goal_amount_positive CHECK (amount_minor > 0)
);
CREATE UNIQUE INDEX uq_goal_open ON goal (collective_id, kind) WHERE ended_at IS NULL;
GRANT SELECT, INSERT ON goal TO commonweal_app;
GRANT UPDATE (ended_at) ON goal TO commonweal_app;
