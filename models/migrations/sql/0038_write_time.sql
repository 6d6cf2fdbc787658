-- What every posting and approval did, and need not.

-- mail_queue alone called it with a hash that it mostly did not need.
DROP FUNCTION IF EXISTS mail_is_due(text, text, boolean, boolean, text, uuid, jsonb);

-- It answers now.
DROP FUNCTION IF EXISTS require_legs_of_figures(transaction, uuid[], uuid[], text[], text[], bigint[]);

-- PostgreSQL reads CHECK constraints and the WHEN conditions of triggers anew for each statement. transaction_guard
-- calls what was a trigger for some kinds; ledger_post moves the floor itself.
DROP TRIGGER IF EXISTS clearing_floor ON ledger_account;
DROP TRIGGER IF EXISTS settlement_transaction_guard ON transaction;
DROP TRIGGER IF EXISTS payout_transaction_guard ON transaction;
DROP TRIGGER IF EXISTS payout_fee_guard ON transaction;
DROP FUNCTION IF EXISTS clearing_floor(), settlement_transaction_guard(), payout_transaction_guard(),
    payout_fee_guard();

-- CLEARING accounts alone have a credit limit, and no holds: the floor holds for all accounts. Of the two, the first
-- by name tells of a counterpart that would owe too much.
ALTER TABLE ledger_account
    DROP CONSTRAINT ck_ledger_account_floor,
    DROP CONSTRAINT ck_ledger_account_clearing_limit,
    ADD CONSTRAINT ck_ledger_account_floor CHECK (posted - held >= floor),
    ADD CONSTRAINT ck_ledger_account_clearing_limit CHECK (credit_limit IS NULL OR posted >= floor);
