-- Calls of the ledger's functions: nothing else may write to it (models/migrations).

-- post --
-- Write one transaction with its postings, and release an order's hold if one is named.
SELECT ledger_post(
    jsonb_populate_record(NULL::transaction, CAST(:row AS jsonb)),
    CAST(:books AS uuid[]),
    CAST(:owners AS uuid[]),
    CAST(:currencies AS text[]),
    CAST(:kinds AS text[]),
    CAST(:amounts AS bigint[]),
    CAST(:release AS uuid)
)

-- post_many --
-- Write transactions of two postings each, all in one book and currency, in the order of the rows.
SELECT count(
    ledger_post(
        jsonb_populate_record(NULL::transaction, r.row),
        ARRAY[CAST(:book AS uuid), CAST(:book AS uuid)],
        ARRAY[o1, o2],
        ARRAY[CAST(:currency AS text), CAST(:currency AS text)],
        ARRAY[k1, k2],
        ARRAY[a1, a2]
    ) ORDER BY n
)
FROM ROWS FROM (
    jsonb_array_elements(CAST(:rows AS jsonb)),
    unnest(CAST(:first_owners AS uuid[])),
    unnest(CAST(:first_kinds AS text[])),
    unnest(CAST(:first_amounts AS bigint[])),
    unnest(CAST(:second_owners AS uuid[])),
    unnest(CAST(:second_kinds AS text[])),
    unnest(CAST(:second_amounts AS bigint[]))
) WITH ORDINALITY AS r (row, o1, k1, a1, o2, k2, a2, n)

-- post_history --
-- Write transactions in the order of the rows. Each has the legs from its first to its last, counted over all.
SELECT count(
    ledger_post(
        jsonb_populate_record(NULL::transaction, r.row),
        (CAST(:books AS uuid[]))[r.first:r.last],
        (CAST(:owners AS uuid[]))[r.first:r.last],
        (CAST(:currencies AS text[]))[r.first:r.last],
        (CAST(:kinds AS text[]))[r.first:r.last],
        (CAST(:amounts AS bigint[]))[r.first:r.last]
    )
)
FROM ROWS FROM (
    jsonb_array_elements(CAST(:rows AS jsonb)),
    unnest(CAST(:firsts AS int[])),
    unnest(CAST(:lasts AS int[]))
) AS r (row, first, last)

-- lock --
-- Lock the named accounts in the order of their keys.
SELECT ledger_lock(
    CAST(:books AS uuid[]),
    CAST(:owners AS uuid[]),
    CAST(:currencies AS text[]),
    CAST(:kinds AS text[])
)

-- hold --
-- Set part of a balance aside for an order.
SELECT ledger_hold(:order_id, :book_id, :owner_id, :currency, :amount)

-- release --
-- Release an order's hold, if it has one.
SELECT ledger_release(:order_id)

-- open --
-- Open an owner's balance account in a book, if there is none.
SELECT ledger_open(:book_id, :owner_id, :currency)
