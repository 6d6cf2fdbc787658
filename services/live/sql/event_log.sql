-- The log of live events, in the order of (xid, id): see the module for why that order is final.

-- events_after --
-- Select the events after a position whose transactions are older than every running one, with the xid up to
-- which that is final, and the timeline; one row without an event if there is none.
WITH final AS MATERIALIZED (
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS until_xid, server_timeline() AS timeline
)
SELECT final.timeline, final.until_xid, e.*
FROM final
LEFT JOIN LATERAL (
    SELECT xid, id, kind, node_id, collective_ids
    FROM live_event
    WHERE (xid, id) > (:xid, :id) AND xid < final.until_xid
    ORDER BY xid, id
    LIMIT :count
) AS e ON true
ORDER BY e.xid, e.id

-- topic_events --
-- Select the events between two positions that are of some kinds and about one order or collective.
SELECT xid, id, kind, node_id, collective_ids
FROM live_event
WHERE (xid, id) > (:xid, :id)
    AND (xid, id) <= (:until_xid, :until_id)
    AND kind = ANY(CAST(:kinds AS text[]))
    AND (node_id = :of_id OR CAST(:of_id AS uuid) = ANY(collective_ids))
ORDER BY xid, id
LIMIT :count

-- oldest_event --
-- Select the position of the oldest event that is kept, the next transaction id of this server and its timeline.
SELECT xid, id, pg_snapshot_xmax(pg_current_snapshot())::text::bigint, server_timeline()
FROM live_event
ORDER BY xid, id
LIMIT 1

-- delete_old_events --
-- Delete some thousands of events older than an interval; does nothing while another caller does it.
SELECT live_prune(:keep)

-- has_old_events --
-- Tell whether events older than an interval are left, beside the mark.
SELECT EXISTS (SELECT FROM (SELECT at FROM live_event ORDER BY xid, id OFFSET 1 LIMIT 1) AS second
    WHERE second.at < now() - CAST(:keep AS interval))
