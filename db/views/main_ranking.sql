create or replace view main_ranking as
select r.*
from ranking r
where r.quantity = 'loss'
    or (r.quantity = 'score' and r.task_id = 'mean' and not exists (
        select 1 from ranking o where o.study_key is not distinct from r.study_key and o.quantity = 'loss'));
comment on view main_ranking is 'The ranking that stands for a study: by projected loss, else, where no losses are projected, by the projected mean score.';
