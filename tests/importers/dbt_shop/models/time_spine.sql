select unnest(generate_series(timestamp '2026-01-01', timestamp '2026-03-01', interval 1 day))::date as date_day
