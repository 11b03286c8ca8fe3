-- Sizes and amounts of data are counts.
select 'run' as of, run_id as id, n_params, n_tokens from run where n_params <= 0 or n_tokens < 0 or n_trainable < 0
union all
select 'base_model', model_id, n_params, null from base_model where n_params <= 0
