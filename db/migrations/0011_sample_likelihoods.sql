-- What likelihood tasks say of each item beside its score: its choices, and how likely the model held them.

alter table sample_score add column n_choices integer;
alter table sample_score add column answers json;
alter table sample_score add column loglikelihood double;
alter table sample_score add column answer_bytes integer;
alter table sample_score add column choice_loglikelihoods json;
alter table sample_score add column choice_bytes json;
comment on column sample_score.n_choices is 'Choices that the item offers; null where there are none (a completion, generated text) or nobody says.';
comment on column sample_score.answers is 'Places of the right choices among them, from 0, a list; null where nobody says.';
comment on column sample_score.loglikelihood is 'Log-likelihood of the right answer after the prompt, of a completion, or of the whole document: nats, summed over tokens. Null where it is not known, or several choices are right.';
comment on column sample_score.answer_bytes is 'UTF-8 bytes of the text that loglikelihood is of.';
comment on column sample_score.choice_loglikelihoods is 'Log-likelihood of each choice in their order, nats, a list (infinities as text); null where it is not known.';
comment on column sample_score.choice_bytes is 'UTF-8 bytes of each choice in their order, a list, without the space in front of it.';
