"""Correlations of trainable parameters, loss and performance (the paper's tables 7 and 8 and appendix I)."""

from astraios.report.base import Table

SQL = """\
select origin, ladder, dataset_id, n_params as row_size, 'Overall' as row,
    case {which} when 'train_loss' then 'Train loss' when 'test_loss' then 'Test loss' else 'Mean score' end as head,
    case coefficient when 'kendall' then 'τ' when 'pearson' then 'r (Pearson)' else 'r (Spearman)' end as sub,
    value, case when p_value is not null then ' (' || printf('%.2f', p_value) || ')' else '' end as suffix, 0 as better
from correlations
where {where} and isfinite(value)
order by n_params nulls last, head = 'Mean score', head = 'Test loss', coefficient"""
SIGN = "Losses count as negative: positive means that better goes with more."
MISSING = (
    "Nothing to correlate: fewer than three tuning methods of one size have both, or one is the same for all. "
    "Run astraios collect with three tuning methods or more and tasks that they can solve, or astraios import paper."
)

PARAMETERS = Table(
    name="parameters-loss",
    number=7,
    title="Correlation of trainable parameters with final loss",
    section="loss",
    order=40,
    caption=f"Over tuning methods; p-values in brackets where they are known. {SIGN}",
    sql=SQL.format(which="y", where="x = 'n_trainable' and y in ('train_loss', 'test_loss')"),
    corner="Base model",
    format="{:.4f}",
    missing=MISSING,
)
LOSS = Table(
    name="loss-score",
    number=8,
    title="Correlation of final loss with mean task performance",
    section="score",
    order=35,
    caption=f"Over tuning methods; p-values in brackets where they are known. {SIGN}",
    sql=SQL.format(which="x", where="x in ('train_loss', 'test_loss') and y = 'mean_score'"),
    corner="Base model",
    format="{:.4f}",
    missing=MISSING,
)
SCORE = Table(
    name="parameters-score",
    title="Correlation of trainable parameters with mean task performance",
    section="score",
    order=36,
    caption="Over tuning methods; p-values in brackets where they are known. The paper prints this one in its "
    "appendix I, over all sizes.",
    sql=SQL.format(which="y", where="x = 'n_trainable' and y = 'mean_score'"),
    corner="Base model",
    format="{:.4f}",
    missing=MISSING,
)
