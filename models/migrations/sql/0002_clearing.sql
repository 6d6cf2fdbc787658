-- Clearing: what one host owes another for payments between their books, until they settle.

-- Set for accounts of kind CLEARING: how much the book's host allows the owner (its counterpart) to owe it. The
-- floor is minus the limit, or the balance itself where more was owed when the limit was lowered.
ALTER TABLE ledger_account ADD COLUMN credit_limit bigint;
ALTER TABLE ledger_account DROP CONSTRAINT ck_ledger_account_floor;
ALTER TABLE ledger_account
    ADD CONSTRAINT ck_ledger_account_floor CHECK (kind = 'CLEARING' OR floor IS NULL OR posted - held >= floor),
    ADD CONSTRAINT ck_ledger_account_clearing_limit CHECK (kind <> 'CLEARING' OR posted >= floor);

-- In whole units of the creditor's currency: what the platform, which holds users' cash, may owe each host
-- unless that host sets another limit.
ALTER TABLE platform_policy ADD COLUMN platform_clearing_limit bigint NOT NULL DEFAULT 1000
    CONSTRAINT ck_platform_policy_clearing_limit_not_negative CHECK (platform_clearing_limit >= 0);

-- The payment behind an order of type SETTLEMENT.
CREATE TABLE settlement (
    order_id uuid CONSTRAINT pk_settlement PRIMARY KEY
        CONSTRAINT fk_settlement_order_id_order REFERENCES "order" (id),
    reference text NOT NULL,  -- The bank's reference, by which the creditor finds the payment.
    paid_minor bigint NOT NULL,  -- What the debtor's bank paid, in minor units of the debtor's currency.
    covers text NOT NULL,  -- CLEARING, or PLATFORM_FEES that a host kept for the platform.
    CONSTRAINT ck_settlement_paid_positive CHECK (paid_minor > 0),
    CONSTRAINT ck_settlement_covers_known CHECK (covers IN ('CLEARING', 'PLATFORM_FEES'))
);
GRANT SELECT, INSERT ON settlement TO commonweal_app;

ALTER TABLE "order" DROP CONSTRAINT ck_order_type_known;
ALTER TABLE "order" ADD CONSTRAINT ck_order_type_known CHECK (
    type IN ('DONATION', 'ADDED_FUNDS', 'EXPENSE', 'HOURS', 'REDEMPTION', 'TRANSFER', 'CASH_OUT', 'BONUS',
             'SETTLEMENT')
);
