"""Writes `wandb/`, the runs of from_wandb.ipynb: curves that `make demo` measured, logged offline by W&B itself.

python docs/notebooks/make_wandb.py astraios.duckdb      (where wandb and duckdb are installed; 0.31.0 wrote them)
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import duckdb

METHODS = ("fft", "lora", "ia3")
OUT = Path(__file__).with_name("wandb")
CURVE = """
select model_id, loss_curve.n_params, seed, run.learning_rate, step, loss_curve.n_tokens,
       max(loss_nats) filter (split = 'batch') as train_loss, max(loss_nats) filter (split = 'test') as eval_loss
from loss_curve join run using (run_id, model_id, seed)
where loss_curve.method_id = $method and loss_curve.origin = 'measured' and state = 'done'
group by all order by loss_curve.n_params, step
"""


def main() -> None:
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true")
    import wandb

    quiet = wandb.Settings(
        x_disable_stats=True, x_disable_meta=True, x_save_requirements=False, disable_git=True, disable_code=True,
        console="off", host="machine",
    )  # fmt: skip
    database = duckdb.connect(sys.argv[1], read_only=True)
    with tempfile.TemporaryDirectory() as folder:
        for method in METHODS:
            rows = database.execute(CURVE, {"method": method}).fetchall()
            for model in dict.fromkeys(row[0] for row in rows):
                mine = [row for row in rows if row[0] == model]
                name = f"{method}-{model.partition('/')[2]}"
                _, n_params, seed, learning_rate, *_ = mine[0]
                facts = {"n_params": n_params, "method": method, "seed": seed, "learning_rate": learning_rate}
                run = wandb.init(
                    project="ladder", name=name, id=name.replace("-", ""), dir=folder, settings=quiet,
                    config={"_name_or_path": model, **facts},
                )  # fmt: skip
                for *_, step, n_tokens, train_loss, eval_loss in mine:
                    said = {"train/loss": train_loss, "eval/loss": eval_loss, "num_tokens": n_tokens}
                    run.log({key: value for key, value in said.items() if value is not None}, step=step)
                run.finish()
        for path in sorted(Path(folder, "wandb").glob("offline-run-*/*.wandb")):
            target = OUT / path.parent.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


if __name__ == "__main__":
    main()
