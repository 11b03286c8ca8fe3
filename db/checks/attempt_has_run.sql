-- Every attempt belongs to a run.
select run_id, attempt from attempt anti join run using (run_id)
