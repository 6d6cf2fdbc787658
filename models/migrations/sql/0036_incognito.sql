-- Gifts whose giver is shown to nobody but the giver, the hosts that hold the money, and the platform.

ALTER TABLE "order"
    ADD COLUMN is_incognito boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT ck_order_incognito_is_gift CHECK (NOT is_incognito OR type = 'DONATION');

ALTER TABLE subscription
    ADD COLUMN is_incognito boolean NOT NULL DEFAULT false;  -- That of the orders to come.

-- True if the paying side is the giver of an incognito gift; ledger_post takes it from the order.
ALTER TABLE transaction
    ADD COLUMN is_incognito boolean NOT NULL DEFAULT false;

GRANT UPDATE (is_incognito) ON subscription TO commonweal_app;
