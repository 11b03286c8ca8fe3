"""The rows of the database: one frozen record a table, each column once with its SQL type, unit and comment.

A new column is a field here and a migration in db/migrations; a test holds the two against each other. Losses are in
nats a token, scores are fractions.
"""

from astraios.records.curation import CurationRow
from astraios.records.describing import (
    BaseModelRow,
    CompositeRow,
    DatasetRow,
    EnvironmentRow,
    SweepRow,
    TaskFactRow,
    TaskRow,
    TuningMethodRow,
)
from astraios.records.fits import (
    BacktestRow,
    CorrelationRow,
    FitCurveRow,
    FitDrawRow,
    FitParameterRow,
    FitPointRow,
    FitRow,
    ProjectionRow,
)
from astraios.records.loads import ImportLoad
from astraios.records.plans import AllocationRow, IsoflopRow, NextRunRow, NotPlannedRow, SpeedUpRow
from astraios.records.quality import PassPointRow, QualityRow
from astraios.records.results import (
    EvaluationRow,
    LossPoint,
    LossSummaryRow,
    MetricPoint,
    SampleScore,
    Score,
    ScorePoint,
    TaskResult,
)
from astraios.records.run import AttemptRow, ParameterCount, RunRow
from astraios.records.table import (
    TABLES,
    Column,
    Table,
    columns_of,
    frame,
    from_values,
    plain_rows,
    plain_value,
    schema,
    values,
)

__all__ = [
    "TABLES",
    "AllocationRow",
    "AttemptRow",
    "BacktestRow",
    "BaseModelRow",
    "Column",
    "CompositeRow",
    "CorrelationRow",
    "CurationRow",
    "DatasetRow",
    "EnvironmentRow",
    "EvaluationRow",
    "FitCurveRow",
    "FitDrawRow",
    "FitParameterRow",
    "FitPointRow",
    "FitRow",
    "ImportLoad",
    "IsoflopRow",
    "LossPoint",
    "LossSummaryRow",
    "MetricPoint",
    "NextRunRow",
    "NotPlannedRow",
    "ParameterCount",
    "PassPointRow",
    "ProjectionRow",
    "QualityRow",
    "RunRow",
    "SampleScore",
    "Score",
    "ScorePoint",
    "SpeedUpRow",
    "SweepRow",
    "Table",
    "TaskFactRow",
    "TaskResult",
    "TaskRow",
    "TuningMethodRow",
    "columns_of",
    "frame",
    "from_values",
    "plain_rows",
    "plain_value",
    "schema",
    "values",
]
