-- The newest collectives of all types were found by reading and sorting all of them.

CREATE INDEX ix_collective_created_at ON collective (created_at, id) WHERE archived_at IS NULL;

-- Counting the transactions that everybody may see read all of their rows.

DROP INDEX ix_transaction_at;
CREATE INDEX ix_transaction_at ON transaction (at, id) INCLUDE (has_public_side);
