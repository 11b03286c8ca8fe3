"""What a command does from end to end: read, work, write back, hand on. The CLI calls these and prints."""

from astraios.fit.decide.budget import Sharing
from astraios.fit.decide.plan import PlanRequest
from astraios.fit.request import FitRequest
from astraios.workflow.along import along, along_file
from astraios.workflow.collecting import (
    Hardware,
    collect,
    engines,
    estimated,
    join,
    lacking,
    one_of_machines,
    plan,
    run_cell,
    status,
)
from astraios.workflow.composing import compose
from astraios.workflow.curating import curate, show, sweep_again
from astraios.workflow.evaluating import EvaluateRequest, Subject, evaluate, evaluate_checkpoints
from astraios.workflow.examining import doctor
from astraios.workflow.exporting import export
from astraios.workflow.finishing import finish
from astraios.workflow.fitting import backtest, design, fit_file, fit_scaling, load_fit, preview, reuse
from astraios.workflow.forecasting import forecast
from astraios.workflow.gates import FIT_NAMES, check_conditions, check_gates, fit_facts
from astraios.workflow.importing import ImportRequest, import_results, undo_import
from astraios.workflow.passing import pass_curves
from astraios.workflow.planning import compare_file, compare_series, plan_budget, plan_file
from astraios.workflow.quality import benchmark_quality
from astraios.workflow.reporting import ReportRequest, serve_report, write_report
from astraios.workflow.scoring import COMPARED, ScoreRequest, compare, score
from astraios.workflow.selecting import FileColumns
from astraios.workflow.simulating import simulate_sweep
from astraios.workflow.studies import hints, studies
from astraios.workflow.sweeping import first_sweep, schema_text, write_schema
from astraios.workflow.tasks import correct_task, forget_task, known_tasks

__all__ = [
    "COMPARED",
    "FIT_NAMES",
    "EvaluateRequest",
    "FileColumns",
    "FitRequest",
    "Hardware",
    "ImportRequest",
    "PlanRequest",
    "ReportRequest",
    "ScoreRequest",
    "Sharing",
    "Subject",
    "along",
    "along_file",
    "backtest",
    "benchmark_quality",
    "check_conditions",
    "check_gates",
    "collect",
    "compare",
    "compare_file",
    "compare_series",
    "compose",
    "correct_task",
    "curate",
    "design",
    "doctor",
    "engines",
    "estimated",
    "evaluate",
    "evaluate_checkpoints",
    "export",
    "finish",
    "first_sweep",
    "fit_facts",
    "fit_file",
    "fit_scaling",
    "forecast",
    "forget_task",
    "hints",
    "import_results",
    "join",
    "known_tasks",
    "lacking",
    "load_fit",
    "one_of_machines",
    "pass_curves",
    "plan",
    "plan_budget",
    "plan_file",
    "preview",
    "reuse",
    "run_cell",
    "schema_text",
    "score",
    "serve_report",
    "show",
    "simulate_sweep",
    "status",
    "studies",
    "sweep_again",
    "undo_import",
    "write_report",
    "write_schema",
]
