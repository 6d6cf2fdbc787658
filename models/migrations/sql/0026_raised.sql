-- What collectives and their tiers raised, kept with each gift: a sum over the history would grow with it.
CREATE TABLE raised_total (
    subject_id uuid,  -- A collective, or a tier.
    currency text,
    raised_minor bigint NOT NULL,
    CONSTRAINT pk_raised_total PRIMARY KEY (subject_id, currency),
    CONSTRAINT fk_raised_total_currency FOREIGN KEY (currency) REFERENCES currency (code),
    CONSTRAINT ck_raised_total_not_negative CHECK (raised_minor >= 0)
) WITH (fillfactor = 50);
GRANT SELECT ON raised_total TO commonweal_app;

INSERT INTO raised_total (subject_id, currency, raised_minor)
SELECT s.subject_id, t.currency, sum(t.amount - coalesce(r.refunded, 0))
FROM transaction t
LEFT JOIN refund_total r ON r.transaction_id = t.id
LEFT JOIN "order" o ON o.id = t.order_id AND t.kind = 'DONATION'
CROSS JOIN LATERAL unnest(ARRAY[t.to_collective_id, o.tier_id]) AS s(subject_id)
WHERE t.kind IN ('DONATION', 'ADDED_FUNDS') AND s.subject_id IS NOT NULL
GROUP BY s.subject_id, t.currency;
