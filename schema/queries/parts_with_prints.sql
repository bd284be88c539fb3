-- Whether a market has a print in each of the equal parts of a time, oldest first; a probe of the key a part.
-- $1 market id, $2 from, $3 seconds a part, $4 how many parts
SELECT EXISTS (SELECT FROM public.oracle_prices AS p
               WHERE p.market_id = $1
                 AND p.created_at >= $2::timestamptz + make_interval(secs => part * $3::double precision)
                 AND p.created_at < $2::timestamptz + make_interval(secs => (part + 1) * $3::double precision)
                 AND p.source <> 'external') AS printed
FROM generate_series(0, $4::int - 1) AS part
ORDER BY part
