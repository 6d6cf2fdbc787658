-- A guest gives by an email address alone: like funds that a host adds in somebody's name, the donation shows no giver
-- until whoever owns the address has claimed it.

ALTER TABLE "order"
    DROP CONSTRAINT ck_order_two_sides,
    ADD CONSTRAINT ck_order_two_sides CHECK (
        from_id <> to_id OR type IN ('CASH_OUT', 'ADDED_FUNDS') OR claimed_giver_id IS NOT NULL),
    DROP CONSTRAINT ck_order_giver_has_status,
    ADD CONSTRAINT ck_order_giver_has_status CHECK (
        (claimed_giver_id IS NULL) = (giver_status IS NULL)
        AND (claimed_giver_id IS NULL OR type = 'ADDED_FUNDS'
             OR type = 'DONATION' AND payment_method_kind IN ('MANUAL', 'PROVIDER')));

-- Where givers transfer money to: public, like the name of the method.
ALTER TABLE payment_method
    ADD COLUMN iban text,
    ADD COLUMN account_holder text,
    ADD CONSTRAINT ck_payment_method_account_of_transfer CHECK (
        (iban IS NULL) = (account_holder IS NULL) AND (iban IS NULL OR kind = 'MANUAL')
        AND iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{1,30}$' AND length(account_holder) BETWEEN 1 AND 70);
