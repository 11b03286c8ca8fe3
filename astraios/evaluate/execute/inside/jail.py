"""Script that becomes a jailed process: `python jail.py CONFIG`, where CONFIG is JSON from `isolation.Jail.command`.

The first process is only a guard. It waits for the jailed child, and kills it when the pipe `life` closes, which
happens when the program that started it ends in whatever way. With level "namespaces" the child is process 1 of its
own pid namespace: when it dies, the kernel kills everything in there.

Not covered: faults of the kernel, timing side channels, and other tenants of the same core.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import stat
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import system

BASES = ("/tmp", "/mnt", "/media", "/srv", "/opt", "/var/tmp")
"""Where the new root is put together: the first that holds none of the trees to be bound. It is covered by a tmpfs
that only the jail's mount namespace sees; nothing is written below it."""


class Scratch:
    """The only writable folder in a jail with namespaces: a tmpfs of limited size, emptied between programs.

    Args:
        path: absolute; must not exist on the host.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        root = os.stat("/")
        self.host_root = (root.st_dev, root.st_ino)
        if os.path.lexists(path):
            raise RuntimeError(f"{path} exists outside the jail")

    def assert_jailed(self) -> None:
        """Refuse to go on unless this is process 1 of its own namespace with a root of its own."""
        root = os.stat("/")
        if os.getpid() != 1 or (root.st_dev, root.st_ino) == self.host_root:
            raise RuntimeError("not inside the jail: nothing is deleted")

    def clean(self) -> None:
        """Delete what a program left in the folder, however deep it lies."""
        self.assert_jailed()
        with contextlib.suppress(PermissionError):  # below a user namespace the folder is the program's own
            os.chmod(self.path, 0o777)
        if os.listdir(self.path):
            top = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                self._empty(top)
            finally:
                os.close(top)

    def _empty(self, top: int) -> None:
        """Folders inside a folder are moved up before it goes, so that two descriptors do for any depth."""
        count = 0
        while names := os.listdir(top):
            for name in names:
                if not self._is_folder(name, top):
                    os.unlink(name, dir_fd=top)
                    continue
                os.chmod(name, 0o700, dir_fd=top)
                folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
                try:
                    for inner in os.listdir(folder):
                        if not self._is_folder(inner, folder):
                            os.unlink(inner, dir_fd=folder)
                            continue
                        count += 1
                        os.chmod(inner, 0o700, dir_fd=folder)
                        os.rename(inner, f".{os.urandom(8).hex()}-{count}", src_dir_fd=folder, dst_dir_fd=top)
                finally:
                    os.close(folder)
                os.rmdir(name, dir_fd=top)

    @staticmethod
    def _is_folder(name: str, folder: int) -> bool:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def new_namespaces(user_namespace: bool) -> bool:
    """Own namespaces; True where they hang below a user namespace (no real root to drop)."""
    flags = system.NEWNS | system.NEWPID | system.NEWNET | system.NEWIPC | system.NEWUTS
    if os.geteuid() == 0 and not user_namespace:
        try:
            system.unshare(flags)
            return False
        except PermissionError:
            pass
    uid, gid = os.geteuid(), os.getegid()
    system.unshare(flags | system.NEWUSER)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")
    return True


def _mirror(source: str, root: str) -> None:
    """Make `source` visible below `root`, read-only; a symbolic link is copied as a link."""
    target = root + source
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        open(target, "w").close()
    system.bind_read_only(source, target)


def build_root(config: dict[str, Any]) -> None:
    """Pivot into a root that holds `config["visible"]`, a few devices, and the scratch folder."""
    visible = [path for path in config["visible"] if os.path.lexists(path)]
    base = next(b for b in BASES if os.path.isdir(b) and not any((p + "/").startswith(b + "/") for p in visible))
    system.mount(None, "/", None, system.REC | system.PRIVATE)
    system.mount("tmpfs", base, "tmpfs", system.NOSUID, "size=4m,mode=755")
    os.umask(0o022)
    for path in visible:
        _mirror(path, base)
    os.makedirs(base + "/dev", exist_ok=True)
    for name in ("null", "zero", "urandom", "random"):
        open(f"{base}/dev/{name}", "w").close()
        system.mount(f"/dev/{name}", f"{base}/dev/{name}", None, system.BIND)
    if config["proc"]:
        os.makedirs(base + "/proc")
        system.mount("proc", base + "/proc", "proc", system.NOSUID | system.NODEV | system.NOEXEC)
    os.makedirs(base + config["scratch"])
    flags = system.NOSUID | system.NODEV
    size = config["scratch_bytes"]
    system.mount("tmpfs", base + config["scratch"], "tmpfs", flags, f"size={size},nr_inodes=4096,mode=777")
    os.chdir(base)
    system.call("pivot_root", b".", b".")
    system.detach(".")
    os.chdir("/")
    system.mount(None, "/", None, system.BIND | system.REMOUNT | system.RDONLY | system.NOSUID)
    os.chdir(config["scratch"])


def drop_identity(below_user_namespace: bool) -> None:
    """Real root becomes a user that nobody else is; then no capability is left."""
    if os.geteuid() == 0 and not below_user_namespace:
        number = 2_000_000_000 + int.from_bytes(os.urandom(3), "big")
        os.setgroups([])
        try:
            os.setresgid(number, number, number)
            os.setresuid(number, number, number)
        except OSError:  # a container that maps few users
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
    system.drop_capabilities()
    system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)


def limits(config: dict[str, Any]) -> None:
    """Limits of the whole jail; those of one program are set in its own process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    size = config["file_bytes"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    resource.setrlimit(resource.RLIMIT_NOFILE, (config["files"], config["files"]))
    if config["level"] == "namespaces":
        resource.setrlimit(resource.RLIMIT_NPROC, (config["processes"], config["processes"]))


def guard(child: int, life: int) -> None:
    """Wait until the child ends or the starter does; never returns."""
    handle = os.pidfd_open(child)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(life, select.POLLIN | select.POLLHUP)
    while not any(descriptor == handle for descriptor, _ in poll.poll()):
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            break
        poll.unregister(life)
    _, status = os.waitpid(child, 0)
    _say_how_it_ended(status)
    os._exit(0 if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else 1)


def enter(config: dict[str, Any]) -> Scratch | None:
    """Put the calling process behind the bars of `config["level"]`; its child goes on, jailed."""
    scratch = Scratch(config["scratch"]) if config["level"] == "namespaces" else None
    below = new_namespaces(config["user_namespace"]) if scratch else False
    child = os.fork()
    if child:
        for descriptor in (0, 1, *config["peers"]):
            os.close(descriptor)
        guard(child, config["life"])
    os.close(config["life"])
    system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    if scratch:
        build_root(config)
        scratch.assert_jailed()
    limits(config)
    drop_identity(below)
    readable = ["/"] if scratch else [*config["visible"], "/dev/null", "/dev/urandom", "/dev/zero"]
    try:
        writable = [config["scratch"]] if scratch else []
        system.landlock(readable, [*writable, "/dev/null"])
    except OSError:
        if not scratch:
            raise
    system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)
    return scratch


def step_aside(config: dict[str, Any]) -> None:
    """A child goes on: no limit can end process 1 of a namespace, which only waits for its children from here on."""
    child = os.fork()
    if not child:
        system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)
        return
    for descriptor in (0, 1, *config["peers"]):
        os.close(descriptor)
    while True:
        pid, status = os.wait()
        if pid == child:
            _say_how_it_ended(status)
            os._exit(0 if status == 0 else 1)


def _say_how_it_ended(status: int) -> None:
    if os.WIFSIGNALED(status):
        os.write(2, f"ended by {signal.Signals(os.WTERMSIG(status)).name}\n".encode())


def main() -> None:
    """Enter the jail, then be a worker or execute a command there."""
    config = json.loads(sys.argv[1])
    if config["command"]:
        enter(config)
        system.Filter(processes=True).install()
        step_aside(config)
        os.execve(config["command"][0], config["command"], config["environment"])
    import worker

    # Later imports fail where the jail's user may not read the interpreter's folder.
    confined = config["level"] == "confined"
    config["base_bytes"] = worker.preload(config["numpy"] and (confined or not config["judge"]), confined)
    if config["judge"]:
        import judge

        enter(config)
        step_aside(config)
        judge.serve(config)
    else:
        worker.serve(enter(config), config)


main()
