-- Tell whoever listens on the channel quantdesk_marks of new marks.
-- $1 payloads: {"market", "mark_price", "oracle_price", "at"} as JSON, far below the 8,000 bytes that a payload may have
SELECT count(pg_notify('quantdesk_marks', payload)) FROM unnest($1::text[]) AS t (payload)
