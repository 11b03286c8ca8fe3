"""A shell completes values: those that astraios knows and those of the database, without a word when there is none."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from astraios import completion, store
from tests.conftest import REPOSITORY, run_cli

SHELLS = ("bash", "zsh")


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "paper.duckdb"
    assert run_cli("import", "paper", "--db", path).returncode == 0
    return path


def protocol(shell: str, *words: str) -> dict[str, str]:
    """What the shell's script sets when Tab is pressed after the last of these words."""
    if shell == "bash":
        return {
            "_ASTRAIOS_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(("astraios", *words)),
            "COMP_CWORD": str(len(words)),
        }  # fmt: skip
    return {"_ASTRAIOS_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": " ".join(("astraios", *words))}


def complete(shell: str, *words: str) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in protocol(shell, *words).items():
            patch.setenv(name, value)
        done = run_cli()
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    if shell == "bash":
        return [line for line in done.stdout.splitlines() if line]
    found = done.stdout.strip().removeprefix("_arguments '*: :((").removesuffix("))'")
    return [part.split('":"')[0].strip('"') for part in found.splitlines() if part.startswith('"')]


VALUES = [
    # words, what is among the values; the last word is being typed
    (["collect", ""], {"tiny", "astraios", "learning_rate", "mine.toml"}),
    (["collect", "mi"], {"mine.toml"}),
    (["status", "sub/"], {"sub/other.toml"}),
    (["plan", "--simulate", "tiny_"], {"tiny_seeds"}),
    (["collect", "--launcher", ""], {"local", "ray", "slurm"}),
    (["score", "g.json", "--method", "adapter"], {"adapterh", "adapterp"}),
    (["evaluate", "m", "--task", "humanevalfix-"], {"humanevalfix-java", "humanevalfix-python"}),
    (["sql", "--query", "best"], {"best-method-by-size"}),
    (["report", "--figure", "projection"], {"projection-loss", "projection-score"}),
    (["report", "--figure", "table-"], {"table-artifacts"}),
    (["import", "x", "--format", "wandb"], {"wandb", "wandb-history", "wandb-server"}),
    (["fit-scaling", "--law", "power"], {"power", "power_offset"}),
    (["speedup", "--law", "au"], {"auto"}),
]
OF_THE_DATABASE = [
    (["fit-scaling", "--study", ""], {"starcoderbase"}),
    (["report", "--study", "starcoderbase,star"], {"starcoderbase,starcoderbase"}),
    (["compare", "a", "b", "--task", "devi"], {"devign"}),
    (["task", "clone"], set()),
    (["task", "bigclone"], {"bigclonebench"}),
    (["composite", "mine", "devign", "big"], {"bigclonebench"}),
    (["speedup", "lo"], {"lora"}),
    (["plan", "--series", "ff"], {"fft"}),
    (["sql", "'from final_"], {"from final_loss", "from final_score"}),
    (["sql", "'select * from run_"], {"select * from run_series", "select * from run_study", "select * from run_tag"}),
]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("words", "expected"), VALUES, ids=[" ".join(words) for words, _ in VALUES])
def test_values_that_are_known(
    shell: str, words: list[str], expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("mine.toml", "sub/other.toml", "notes.txt"):
        (tmp_path / name).touch()
    found = complete(shell, *words)
    assert expected <= set(found)
    assert all(value.startswith(words[-1]) for value in found)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("words", "expected"), OF_THE_DATABASE, ids=[" ".join(words) for words, _ in OF_THE_DATABASE])
def test_values_of_the_database(
    shell: str, words: list[str], expected: set[str], db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = db.read_bytes()
    verb, *rest = words
    assert expected <= set(complete(shell, verb, "--db", str(db), *rest))
    monkeypatch.setenv("ASTRAIOS_DB", str(db))
    assert expected <= set(complete(shell, *words))
    assert db.read_bytes() == before
    assert [path.name for path in db.parent.iterdir() if path.suffix != ".lock"] == [db.name]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shell", SHELLS)
def test_runs_by_their_ids(shell: str, db: Path) -> None:
    run = store.query(db, "select run_id from run order by 1 limit 1").item()
    for verb in (["show"], ["tag"], ["exclude"], ["include"], ["compare", "x"]):
        assert run in complete(shell, verb[0], "--db", str(db), *verb[1:], run[:4])


def _hostile(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.duckdb"
    if kind == "text":
        path.write_text("not a database")
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "foreign":
        with duckdb.connect(str(path)) as connection:
            connection.execute("create view study as select error('ran')::varchar as study, 1 as n_runs")
    elif kind == "lake":
        return Path("ducklake:postgres:dbname=none")
    return path


@pytest.mark.parametrize("kind", ["none", "text", "empty", "folder", "pipe", "foreign", "lake"])
def test_without_a_database_there_is_nothing_and_no_word(kind: str, tmp_path: Path) -> None:
    path = _hostile(kind, tmp_path)
    before = sorted(tmp_path.iterdir())
    for words, _ in OF_THE_DATABASE:
        assert complete("bash", words[0], "--db", str(path), *words[1:]) == [], words
    assert sorted(tmp_path.iterdir()) == before


def test_a_database_that_another_program_keeps_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "kept.duckdb"
    code = f"import duckdb; c = duckdb.connect({str(path)!r}); print('kept', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "kept\n"
        assert store.glimpse(path, "select 1") == []
    finally:
        other.communicate("\n")


def test_a_read_only_database_is_enough(db: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(db, tmp_path / "copy.duckdb"))
    copy.chmod(stat.S_IRUSR)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert complete("bash", "fit-scaling", "--db", str(copy), "--study", "") == ["starcoderbase"]
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_failing_kind_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(db: Path, typed: str) -> dict[str, str]:
        sys.stdout.write("noise")
        raise RuntimeError("no")

    monkeypatch.setitem(completion.KINDS, "queries", failing)
    assert complete("bash", "sql", "--query", "b") == []


def test_bash_itself_completes(db: Path, tmp_path: Path) -> None:
    """The script that --show-completion gives, in a real bash, with a program of that name in a process of its own."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    program = tmp_path / "astraios"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom astraios.cli import main\nsys.argv[0] = 'astraios'\nmain()\n"
    )
    program.chmod(0o755)
    script = run_cli("--show-completion", "bash").stdout
    assert "complete -o default" in script
    script += (
        "\nCOMP_WORDS=(astraios fit-scaling --study 'star'); COMP_CWORD=3\n_astraios_completion astraios\n"
        "printf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    done = subprocess.run(
        [bash, "--norc", "-c", script], capture_output=True, text=True, check=False,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "ASTRAIOS_DB": str(db)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("starcoderbase\n", "")
