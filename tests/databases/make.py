"""Makes the small database of a released schema that the tests keep: `python tests/databases/make.py 0003_utilisation`.

Run once when a schema is released, by the astraios that releases it; the file is never made again. It is written in the
storage format of that time, with the views of that time, and holds one run with losses and scores, and a fit.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path

import duckdb

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
ROWS = """
insert into base_model (model_id, ladder, n_params, settings) values ('made/up', 'made', 1000, '{}');
insert into tuning_method (method_id, title, kind) values ('lora', 'LoRA', 'low-rank');
insert into task (task_id, title, kind, metric, higher_is_better) values ('t', 'T', 'likelihood', 'accuracy', true);
insert into sweep (sweep_id, name, settings) values ('s@1', 's', '{}');
insert into run (run_id, sweep_id, origin, model_id, method_id, seed, n_params, n_trainable, bytes_per_token, settings)
    values ('run0', 's@1', 'measured', 'made/up', 'lora', 0, 1000, 10, 2.0, '{"a": "é"}');
insert into attempt (run_id, attempt, state, directory, content_hash) values ('run0', 1, 'done', 'run0', 'abc');
insert into loss_point (run_id, attempt, split, step, n_tokens, loss_nats)
    select 'run0', 1, 'test', i, i * 100, 4.0 - i / 10 from range(5) t(i);
insert into loss_summary values ('run0', 1, 'test', 5, 4, 3.6, 3.6, 3.8);
insert into evaluation (run_id, attempt, task_id, n_shot, n_items) values ('run0', 1, 't', 0, 20);
insert into score (run_id, attempt, task_id, n_shot, metric, value) values ('run0', 1, 't', 0, 'accuracy', 0.5);
insert into sample_score (run_id, attempt, task_id, n_shot, item_id, sample, value, verdict)
    values ('run0', 1, 't', 0, '0', 0, 1.0, 'passed');
insert into fit (fit_id, role, quantity, law, estimator) values ('f', 'target', 'loss', 'power', 'huber');
insert into fit_parameter (fit_id, name, value) values ('f', 'alpha', 0.1);
insert into fit_point (fit_id, run_id, observed) values ('f', 'run0', 3.6);
insert into projection (fit_id, role, quantity, method_id, n_params, mean)
    values ('f', 'target', 'loss', 'lora', 4000, 3);
"""
LOAD_KEYS = "update attempt set load_key = 1; update loss_point set load_key = 1"
"""From 0005_load_key on."""


def make(last: str) -> Path:
    """The database with all migrations up to `last`."""
    from astraios.store import schema

    names = [name for name in schema.sql_files("migrations") if name <= last]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "old.duckdb"
        connection = duckdb.connect()
        connection.execute(f"attach '{file}' as old (storage_version 'v1.2.0')")
        connection.execute("use old")
        connection.execute(
            "create table schema_migration (name varchar not null, hash varchar not null, applied_at timestamp)"
        )
        for name in names:
            connection.execute(schema.sql_files("migrations")[name])
            connection.execute("insert into schema_migration values (?, 'of that time', now()::timestamp)", [name])
        connection.execute("create view final_loss as select * from loss_summary")
        connection.execute("comment on table schema_migration is 'Migrations had; views of-that-time'")
        connection.execute((REPOSITORY / "db" / "keys.sql").read_text())
        connection.execute(ROWS)
        if last >= "0005_load_key":
            connection.execute(LOAD_KEYS)
        connection.execute("checkpoint")
        connection.close()
        target = HERE / f"{last}.duckdb.gz"
        target.write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    return target


if __name__ == "__main__":
    sys.stdout.write(f"{make(sys.argv[1])}\n")
