-- Rows for rollup_refresh and rollup_live: an even stream over the 720 hours
-- before :'until'; users as Zipf has them, the first with 8 % of the rows; an hour
-- has about one group (user, type) for every four rows.
-- Needs rows, until.
CREATE TABLE bench.raw (
    at timestamptz NOT NULL,
    user_id int NOT NULL,
    entity_type text NOT NULL,
    status text NOT NULL,
    duration_ms int NOT NULL,
    input_tokens int NOT NULL,
    output_tokens int NOT NULL,
    cost numeric(12, 6) NOT NULL,
    credits numeric(12, 4) NOT NULL
);

-- So many rows evenly over a piece of time.
CREATE FUNCTION bench.make_rows(n bigint, since timestamptz, length interval, users int)
RETURNS SETOF bench.raw LANGUAGE sql VOLATILE AS $$
    SELECT since + i * (length / n), floor(power(users, random()))::int,
        (ARRAY['model', 'model', 'model', 'model', 'workflow', 'agent', 'tool'])[1 + floor(6.9 * power(random(), 1.7))::int],
        CASE WHEN random() < 0.03 THEN 'error' ELSE 'ok' END, (random() * 9000)::int, (random() * 4000)::int,
        (random() * 1000)::int, round((random() * 0.1)::numeric, 6), round((random() * 10)::numeric, 4)
    FROM generate_series(0, n - 1) AS i
$$;

CREATE FUNCTION bench.users() RETURNS int IMMUTABLE RETURN greatest(20, :rows / 2000);

SELECT setseed(0.5);
INSERT INTO bench.raw
SELECT * FROM bench.make_rows(:rows, timestamptz :'until' - interval '720 hours', interval '720 hours', bench.users());
CREATE INDEX ON bench.raw (at);
VACUUM ANALYZE bench.raw;
