-- A round of ordinary work, that must succeed whatever others send meanwhile.
SELECT count(*) AS before FROM inputs.work \gset
SELECT aggjobs_trigger('good') AS run \gset
SELECT 1 / (aggjobs_wait(:run, '60 s') = 'succeeded')::int;
SELECT 1 / (count(*) > :before)::int FROM inputs.work;
SELECT aggjobs_set('inputs_good', '1'), aggjobs_set('inputs_good', NULL);
SELECT 1 / (count(*) > 0)::int FROM aggjobs_status();
SELECT 1 / (count(*) = 2)::int FROM aggjobs_preview_schedule('*/5 * * * *', 'UTC', 2);
