"""A real SLURM of two nodes on this machine, in a folder of its own: munged, slurmctld and two slurmd.

It needs Debian's packages slurm-wlm and munge, and root.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
NODES = ("north", "south")

CONF = """
ClusterName=twonodes
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
JobRequeue=1
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=30
KillWait=5
InactiveLimit=0
NodeName=north NodeHostname={host} Port={north} CPUs=1 State=UNKNOWN Feature=fast
NodeName=south NodeHostname={host} Port={south} CPUs=1 State=UNKNOWN Feature=fast
PartitionName=work Nodes=north,south Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why a SLURM can't be started here, or None."""
    absent = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (apt-get install slurm-wlm munge)"
    return None if os.geteuid() == 0 else "only root can run slurmd"


PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Cluster:
    """The daemons; `stop` ends those that this started, by their ids."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.conf = folder / "slurm.conf"
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(self.conf)}

    def start(self) -> None:
        folder = self.folder
        folder.chmod(0o755)
        (folder / "state").mkdir()
        key = folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(1024))
        host = socket.gethostname().split(".")[0]
        self.conf.write_text(
            CONF.format(host=host, folder=folder, **dict(zip(("port", *NODES), free_ports(3), strict=True)))
        )
        self._daemon("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
                     f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
                     f"--seed-file={folder}/munge.seed")  # fmt: skip
        self._wait(lambda: (folder / "munge.socket").exists(), "munged")
        self._daemon("slurmctld", "-D", "-f", str(self.conf))
        for node in NODES:
            self.start_node(node)
        self._wait(lambda: self.states() == dict.fromkeys(NODES, "idle"), "two idle nodes")

    def start_node(self, node: str) -> None:
        self._daemon("slurmd", "-D", "-N", node, "-f", str(self.conf), name=node)

    def states(self) -> dict[str, str]:
        """State of each node."""
        result = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--format=%N %T"], env=self.environment, capture_output=True, text=True
        )
        return dict(line.split() for line in result.stdout.splitlines())

    def queue(self) -> list[tuple[str, str, str]]:
        """Id, state and node of each job."""
        result = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%i|%T|%N"],
            env=self.environment,
            capture_output=True,
            text=True,
        )
        lines = (line.split("|") for line in result.stdout.splitlines())
        return [(job, state, node) for job, state, node in lines]

    def kill_node(self, node: str) -> None:
        """What a power cut does: the daemon and all that runs on the node are gone at once."""
        self.daemons.pop(node).kill()
        processes = self._processes_of(node)
        # The step daemons first: they would report the death of the others.
        for process in [*self._step_daemons(processes), *processes]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _step_daemons(self, processes: list[int]) -> list[int]:
        """Those of SLURM's step daemons that started some of these processes."""
        found = set()
        for process in processes:
            with contextlib.suppress(OSError):
                parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
                if Path(f"/proc/{parent}/cmdline").read_bytes().startswith(b"slurmstepd"):
                    found.add(parent)
        return sorted(found)

    def _processes_of(self, node: str) -> list[int]:
        """Processes of this cluster's jobs on a node."""
        marks = (f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={self.conf}".encode())
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    variables = (entry / "environ").read_bytes().split(b"\0")
                    if all(mark in variables for mark in marks):
                        found.append(int(entry.name))
        return found

    def _daemon(self, program: str, *arguments: str, name: str = "") -> None:
        path = shutil.which(program, path=PATH)
        assert path
        with open(self.folder / f"{name or program}.out", "ab") as out:
            self.daemons[name or program] = subprocess.Popen(
                [path, *arguments], env=self.environment, stdout=out, stderr=out, start_new_session=True
            )

    def _wait(self, condition: object, what: str, seconds: float = 90.0) -> None:
        until = time.monotonic() + seconds
        while not condition():  # type: ignore[operator]
            if time.monotonic() > until:
                logs = "\n".join(f"{f.name}: {f.read_text(errors='replace')[-800:]}" for f in self.folder.glob("*.log"))
                raise RuntimeError(f"no {what} after {seconds:g} s\n{logs}")
            time.sleep(0.2)

    def stop(self) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            jobs = [job for job, _, _ in self.queue()]
            if jobs:
                subprocess.run(["scancel", "--signal=KILL", *jobs], env=self.environment, timeout=20)
                time.sleep(1)
        for node in NODES:
            for process in self._processes_of(node):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        for daemon in reversed(list(self.daemons.values())):
            daemon.terminate()
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
