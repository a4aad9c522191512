/*
 * Buckets: the piece of time, of one width, that a time lies in.  For queries,
 * views and the definitions of rollups, and so for everybody.  Explained in
 * doc/buckets.md.
 */

CREATE FUNCTION @extschema@.aggjobs_bucket(
  width interval,
  "time" timestamptz,
  zone text DEFAULT 'UTC',
  origin timestamptz DEFAULT NULL)
RETURNS timestamptz
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'aggjobs_bucket_timestamptz';
COMMENT ON FUNCTION @extschema@.aggjobs_bucket(interval, timestamptz, text, timestamptz)
IS 'the beginning of the bucket of that width that a time lies in; days and months are those of a time zone';

CREATE FUNCTION @extschema@.aggjobs_bucket(
  width interval,
  "time" timestamp,
  origin timestamp DEFAULT NULL)
RETURNS timestamp
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'aggjobs_bucket_timestamp';
COMMENT ON FUNCTION @extschema@.aggjobs_bucket(interval, timestamp, timestamp)
IS 'the beginning of the bucket of that width that a time without time zone lies in';

CREATE FUNCTION @extschema@.aggjobs_bucket(
  width interval,
  "time" date,
  origin date DEFAULT NULL)
RETURNS date
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'aggjobs_bucket_date';
COMMENT ON FUNCTION @extschema@.aggjobs_bucket(interval, date, date)
IS 'the first date of the bucket of that many days or months that a date lies in';

CREATE FUNCTION @extschema@.aggjobs_bucket(
  width bigint,
  "time" bigint,
  origin bigint DEFAULT 0)
RETURNS bigint
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'aggjobs_bucket_bigint';
COMMENT ON FUNCTION @extschema@.aggjobs_bucket(bigint, bigint, bigint)
IS 'the first number of the bucket of that many numbers that a number lies in';
