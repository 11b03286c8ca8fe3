-- Every tag and exclusion is about a run that is known, and every exclusion has its reason.
select run_id, action, tag from curation
where run_id not in (select run_id from run) or (action = 'exclude' and reason is null)
