-- Every run names a base model and a tuning method that are known.
select run_id, model_id, method_id from run
where model_id not in (select model_id from base_model) or method_id not in (select method_id from tuning_method)
