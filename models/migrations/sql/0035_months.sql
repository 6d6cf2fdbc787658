-- The monthly settlement of what a host keeps for the platform: one for each host and month.

ALTER TABLE settlement
    ADD COLUMN host_id uuid CONSTRAINT fk_settlement_host_id REFERENCES collective (id),
    ADD COLUMN month date,  -- Its first day. What was kept until its end is settled.
    ADD COLUMN fees_minor bigint,
    ADD COLUMN tips_minor bigint,  -- With the fees, what is to be paid. In minor units of the host's currency.
    ADD CONSTRAINT ck_settlement_month_whole CHECK (
        num_nulls(host_id, month, fees_minor, tips_minor) = 4
        OR num_nulls(host_id, month, fees_minor, tips_minor) = 0 AND covers = 'PLATFORM_FEES'
        AND month = date_trunc('month', month::timestamp)::date AND fees_minor >= 0 AND tips_minor >= 0
        AND fees_minor + tips_minor = paid_minor);
CREATE UNIQUE INDEX uq_settlement_host_id_month ON settlement (host_id, month) WHERE month IS NOT NULL;
