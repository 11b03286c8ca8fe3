-- Rank and product-moment correlations, printed in a paper or estimated by a fit, with their p-values.

create table correlation (
    origin varchar not null,
    ladder varchar,
    dataset_id varchar,
    x varchar not null,
    y varchar not null,
    n_params bigint,
    coefficient varchar not null,
    value double,
    p_value double,
    n_points integer,
    source varchar
);
comment on table correlation is 'Correlations between trainable parameters, final losses and mean scores over tuning methods.';
comment on column correlation.origin is 'As in run.';
comment on column correlation.ladder is 'Ladder of the base models.';
comment on column correlation.dataset_id is 'The data.';
comment on column correlation.x is 'n_trainable, train_loss or test_loss.';
comment on column correlation.y is 'train_loss, test_loss or mean_score.';
comment on column correlation.n_params is 'Size of the base models, or null over all sizes.';
comment on column correlation.coefficient is 'kendall (tau-b), pearson or spearman.';
comment on column correlation.value is 'The coefficient; positive means that better goes with more, losses counted as negative.';
comment on column correlation.p_value is 'Two-sided p-value of no association.';
comment on column correlation.n_points is 'Models behind it.';
comment on column correlation.source is 'Where it was printed, or what estimated it.';
