create or replace view learnability as
select study_key, origin, ladder, dataset_id, task_id, corr(-loss_nats, value) as correlation, count(*) as n_runs,
    avg((value > chance + 2 * coalesce(stderr, 0))::int) as share_above_chance,
    min(value) as lowest, max(value) as highest, avg(stderr) as stderr
from loss_to_score
where split = 'test' and is_main_metric and is_main_n_shot and value is not null
group by study_key, origin, ladder, dataset_id, task_id
having count(*) >= 4 and isfinite(corr(-loss_nats, value));
comment on view learnability is 'Which tasks follow the loss: over the runs of a study with both, four at least.';
comment on column learnability.correlation is 'Pearson correlation of the score with minus the test loss.';
comment on column learnability.n_runs is 'Runs with both.';
comment on column learnability.share_above_chance is 'Share of the runs whose score is above chance by two standard errors; null where nobody knows the chance level.';
comment on column learnability.lowest is 'Lowest score.';
comment on column learnability.highest is 'Highest score.';
comment on column learnability.stderr is 'Mean standard error of the scores.';
