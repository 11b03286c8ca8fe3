-- Where an attempt's losses lie: a number that grows with each attempt taken in, so that its rows are found by it among
-- any number of others without an index.

alter table attempt add column load_key bigint;
alter table loss_point add column load_key bigint;
comment on column attempt.load_key is 'Number that the attempt was given when it was taken in; says where its losses lie, and nothing else.';
comment on column loss_point.load_key is 'As in attempt; queries of single runs are quick through it.';

update attempt set load_key = numbered.load_key
from (select run_id, attempt, row_number() over (order by run_id, attempt) as load_key from attempt) numbered
where attempt.run_id = numbered.run_id and attempt.attempt = numbered.attempt;
update loss_point set load_key = a.load_key
from attempt a
where loss_point.run_id = a.run_id and loss_point.attempt = a.attempt;
