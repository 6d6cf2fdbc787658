-- The ledger. Only the function ledger_post writes transactions and postings.

-- An owner's account of one kind and currency in a host's book; amounts in minor units.
-- Free space on the page (fillfactor) lets updates of a busy account skip all indexes.
CREATE TABLE ledger_account (
    book_id uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    owner_id uuid NOT NULL,
    currency text NOT NULL,
    kind text NOT NULL,
    posted bigint NOT NULL DEFAULT 0,
    held bigint NOT NULL DEFAULT 0,
    seq bigint NOT NULL DEFAULT 0,
    last_at timestamptz,
    floor bigint,  -- The lower bound of posted - held; null for no bound.
    CONSTRAINT pk_ledger_account PRIMARY KEY (book_id, id),
    -- Few checks, because each is parsed with every posting; the trigger ledger_account_guard checks inserts.
    CONSTRAINT ck_ledger_account_counts_not_negative CHECK (held >= 0 AND seq >= 0),
    CONSTRAINT ck_ledger_account_floor CHECK (floor IS NULL OR posted - held >= floor)
) WITH (fillfactor = 50);

-- A movement of value: both sides, both hosts, fees, fx. Append-only; a refund negates every amount.
--
-- `host_currency` is the receiving host's, or the paying host's if the money leaves the platform.
-- The trigger transaction_guard checks how the amounts relate: CHECK constraints are parsed anew with each
-- statement, which took a seventh of the time of a posting.
CREATE TABLE transaction (
    id uuid CONSTRAINT pk_transaction PRIMARY KEY,
    group_id uuid NOT NULL,
    kind text NOT NULL,
    order_id uuid,
    refund_of_id uuid,
    -- No foreign keys to the four collectives: each posting would lock the row of a busy collective.
    -- Collectives are never deleted, and their ledger accounts refer to them.
    from_collective_id uuid,
    to_collective_id uuid,
    from_host_id uuid,
    to_host_id uuid,
    payment_method_id uuid,
    currency text NOT NULL,
    amount bigint NOT NULL,
    fx_rate numeric NOT NULL,
    fx_rate_id uuid,  -- The row that `fx_rate` was read from; null if both currencies are the same.
    host_currency text NOT NULL,
    gross bigint NOT NULL,
    payment_processor_fee bigint NOT NULL,
    platform_fee bigint NOT NULL,
    host_fee bigint NOT NULL,
    to_host_amount bigint NOT NULL,
    to_collective_amount bigint NOT NULL,
    from_host_currency text,
    from_host_fx_rate numeric,
    from_host_amount bigint,
    from_collective_currency text,
    from_collective_fx_rate numeric,
    from_collective_amount bigint,
    description text,
    has_public_side boolean NOT NULL,
    at timestamptz NOT NULL,  -- Effective time in the ledger.
    created_at timestamptz NOT NULL,  -- Time of recording; later than `at` for imported history.
    xid bigint NOT NULL  -- The database transaction that wrote it: later ones cannot add postings.
);

-- A line of double entry in minor units, credit positive. Append-only.
CREATE TABLE posting (
    book_id uuid NOT NULL,
    account_id bigint NOT NULL,
    seq bigint NOT NULL,
    transaction_id uuid NOT NULL,
    currency text NOT NULL,
    amount bigint NOT NULL,
    balance_after bigint NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_posting PRIMARY KEY (book_id, account_id, seq),
    CONSTRAINT ck_posting_amount_not_zero CHECK (amount <> 0)
);

-- Part of a balance reserved for an order that is not paid yet.
CREATE TABLE hold (
    order_id uuid CONSTRAINT pk_hold PRIMARY KEY,
    book_id uuid NOT NULL,
    account_id bigint NOT NULL,
    amount bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz,
    CONSTRAINT ck_hold_amount_positive CHECK (amount > 0)
);

-- The refunded amount of a transaction; the database limits it to the original amount.
CREATE TABLE refund_total (
    transaction_id uuid CONSTRAINT pk_refund_total PRIMARY KEY,
    amount bigint NOT NULL,
    refunded bigint NOT NULL,
    CONSTRAINT ck_refund_total_at_most_the_original CHECK (refunded > 0 AND refunded <= amount)
);
