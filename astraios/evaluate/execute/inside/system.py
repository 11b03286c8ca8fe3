"""Linux calls that Python has no function for: namespaces, mounts, capabilities, seccomp, Landlock."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from typing import Any

MACHINE = platform.machine()
NUMBERS: dict[str, dict[str, Any]] = {
    "x86_64": {
        "pivot_root": 155, "seccomp": 317, "landlock_create_ruleset": 444, "landlock_add_rule": 445,
        "landlock_restrict_self": 446, "capset": 126, "_arch": 0xC000003E, "EPERM": (101, 310, 311, 165, 166,
        161, 272, 308, 246, 320, 175, 313, 176, 321, 298, 323, 250, 248, 249, 425, 426, 427, 303, 304, 167, 168,
        169, 170, 171, 172, 173, 163, 179, 442, 429, 430, 431, 432, 433, 428, 438, 135, 155, 443, 319, 29,
        30, 31, 64, 66, 240, 68, 69, 227, 164, 424, 251), "fork": (57, 58, 59, 322), "signal": (62, 200, 129, 297),
        "session": (112, 109), "clone": 56, "clone3": 435, "socket": 41, "bind": 49, "connect": 42, "socketpair": 53,
        "tgkill": 234, "of_process": (302, 141, 142, 144, 203, 314), "setpriority": 141,
    },
    "aarch64": {
        "pivot_root": 41, "seccomp": 277, "landlock_create_ruleset": 444, "landlock_add_rule": 445,
        "landlock_restrict_self": 446, "capset": 91, "_arch": 0xC00000B7, "EPERM": (117, 270, 271, 40, 39, 51,
        97, 268, 104, 294, 105, 273, 106, 280, 241, 282, 219, 217, 218, 425, 426, 427, 264, 265, 224, 225, 142,
        161, 162, 89, 60, 442, 429, 430, 431, 432, 433, 428, 438, 92, 41, 443, 279, 30, 194, 195, 196, 190,
        191, 180, 186, 187, 112, 170, 424), "fork": (221, 281), "signal": (129, 130, 138, 240), "session": (157,
        154), "clone": 220, "clone3": 435, "socket": 198, "bind": 200, "connect": 203, "socketpair": 199,
        "tgkill": 131, "of_process": (261, 140, 118, 119, 122, 274), "setpriority": 140,
    },
}  # fmt: skip
"""Syscall numbers. EPERM: mount, namespaces, tracing, modules, bpf, perf, keys, io_uring, handles, System V and POSIX
IPC, memfd, priority of input and output; the others are judged by their arguments or by what the process is for."""

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
ALL_NEW = NEWNS | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET | 0x2000000 | 0x80
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 1, 4, 22, 24, 36
PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = ctypes.CDLL(None, use_errno=True).prctl
_prctl.argtypes = (ctypes.c_int, *4 * (ctypes.c_ulong,))
_libc_in_python = ctypes.PyDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def call(name: str, *arguments: object) -> int:
    """The syscall called `name`; raises OSError."""
    number = NUMBERS[MACHINE][name]
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments), name)


def fork() -> int:
    """`os.fork` without what Python's modules do after one, which costs a child of one thread a third of its time.

    Only for children that judge one program and end by `os._exit`: random states are not made anew.
    """
    return _checked(_libc_in_python.fork(), "fork")


def soft_limit(which: int, value: int) -> None:
    """Set a limit that this process can raise again, as far as the machine's own goes."""
    hard = resource.getrlimit(which)[1]
    resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def unshare(flags: int) -> None:
    """New namespaces for the calling process (NEWPID: for its children)."""
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    text = [None if value is None else value.encode() for value in (source, target, kind, data)]
    _checked(_libc.mount(text[0], text[1], text[2], ctypes.c_ulong(flags), text[3]), f"mount {target}")


def detach(target: str) -> None:
    """Lazy unmount."""
    _checked(_libc.umount2(target.encode(), 2), f"umount {target}")


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    zero = ctypes.c_ulong(0)
    _checked(_libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero), f"prctl {option}")


def bind_read_only(source: str, target: str) -> None:
    """The tree `source` seen at `target`, not writable, without devices and set-uid programs."""
    mount(source, target, None, BIND | REC)
    flags = BIND | REMOUNT | RDONLY | NOSUID
    if os.path.isdir(source):
        flags |= NODEV
    # In a user namespace flags of the original mount are locked and have to be named again.
    flags |= os.statvfs(target).f_flag & (NOSUID | NODEV | NOEXEC)
    mount(None, target, None, flags)


def drop_capabilities() -> None:
    """No capability is left, nor can be had again."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break
    header = struct.pack("Ii", 0x20080522, 0)
    call("capset", header, struct.pack("6I", 0, 0, 0, 0, 0, 0))


def _jump(code: int, value: int, yes: int, no: int) -> bytes:
    return struct.pack("HBBI", code, yes, no, value & 0xFFFFFFFF)


_LOAD, _EQUAL, _ANY_BIT, _RETURN, _AND = 0x20, 0x15, 0x45, 0x06, 0x54
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


class Filter:
    """A seccomp filter, built once and installed as often as wanted.

    Args:
        processes: whether the process may start others and send signals (a worker, a compiler, a JVM).
        sockets: whether it may open sockets of its own, which are unix sockets in any case.
        signals: whether it may send signals, with `processes` false.
        narrow: leave out what a filter of the parent process forbids already.
    """

    def __init__(self, processes: bool, sockets: bool = True, signals: bool = False, narrow: bool = False) -> None:
        self.numbers, self.narrow = NUMBERS[MACHINE], narrow
        self.code: list[bytes] = []
        self._head()
        if not narrow:
            self._always()
            if not sockets:
                self._no_sockets()
        self.own = -1
        if not processes:
            self._no_processes(signals)
        self.code.append(_jump(_RETURN, _ALLOW, 0, 0))
        self.program = ctypes.create_string_buffer(b"".join(self.code), 8 * len(self.code))
        header = struct.pack("HxxxxxxQ", len(self.code), ctypes.addressof(self.program))
        self.header = ctypes.create_string_buffer(header, len(header))
        self.address = ctypes.addressof(self.header)

    def _deny(self, number: int, error: int) -> None:
        self.code += [_jump(_EQUAL, number, 0, 1), _jump(_RETURN, _ERRNO | error, 0, 0)]

    def _deny_if(
        self, number: int, argument: int, code: int, value: int, when: bool, error: int, mask: int = 0xFFFFFFFF
    ) -> None:
        """Deny `number` when the test of its argument, under the mask, gives `when`."""
        yes, no = (0, 1) if when else (1, 0)
        self.code += [
            _jump(_EQUAL, number, 0, 5),
            _jump(_LOAD, 16 + 8 * argument, 0, 0),
            _jump(_AND, mask, 0, 0),
            _jump(code, value, yes, no),
            _jump(_RETURN, _ERRNO | error, 0, 0),
            _jump(_LOAD, 0, 0, 0),
        ]

    def _head(self) -> None:
        self.code += [
            _jump(_LOAD, 4, 0, 0),
            _jump(_EQUAL, self.numbers["_arch"], 1, 0),
            _jump(_RETURN, _KILL, 0, 0),
            _jump(_LOAD, 0, 0, 0),
        ]
        if MACHINE == "x86_64":  # the x32 interface has its own numbers
            self.code += [_jump(0x35, 0x40000000, 0, 1), _jump(_RETURN, _KILL, 0, 0)]

    def _always(self) -> None:
        n = self.numbers
        for number in n["EPERM"]:
            self._deny(number, errno.EPERM)
        self._deny(n["clone3"], errno.ENOSYS)
        self._deny_if(n["clone"], 0, _ANY_BIT, ALL_NEW & ~0x80, True, errno.EPERM)
        self._deny_if(n["socket"], 0, _EQUAL, 1, False, errno.EACCES)
        for number in n["of_process"]:  # limits, priority, affinity and scheduling: of the process itself only
            self._deny_if(number, 0, _EQUAL, 0, False, errno.EPERM)
        self._deny_if(n["setpriority"], 1, _EQUAL, 0, False, errno.EPERM)

    def _no_sockets(self) -> None:
        """Only connected pairs of streams, whose ends nobody can point elsewhere."""
        n = self.numbers
        for number in (n["socket"], n["bind"], n["connect"]):
            self._deny(number, errno.EACCES)
        self._deny_if(n["socketpair"], 1, _EQUAL, 1, False, errno.EACCES, mask=15)

    def _no_processes(self, signals: bool) -> None:
        n = self.numbers
        for number in (*n["fork"], *n["session"], *(() if signals else n["signal"])):
            self._deny(number, errno.EPERM)
        self._deny_if(n["clone"], 0, _ANY_BIT, 0x10000, False, errno.EPERM)  # threads only
        if not signals:
            self._deny_if(n["tgkill"], 0, _EQUAL, 0, False, errno.EPERM)
            self.own = 8 * (len(self.code) - 3) + 4

    def install(self) -> None:
        """Bind the calling process, for good."""
        if self.own >= 0:
            struct.pack_into("I", self.program, self.own, os.getpid())
        fresh = not self.narrow and _prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
        if fresh or _prctl(PR_SET_SECCOMP, 2, self.address, 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "seccomp")


def landlock_abi() -> int:
    """Version of Landlock that the kernel offers, 0 for none."""
    try:
        return call("landlock_create_ruleset", None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except (OSError, KeyError):
        return 0


def landlock(readable: list[str], writable: list[str]) -> None:
    """From here on only `readable` can be read and executed, `writable` also written; no TCP.

    Raises:
        OSError: the kernel has no Landlock.
    """
    abi = landlock_abi()
    if not abi:
        raise OSError(errno.ENOSYS, "no Landlock")
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1
    attributes = struct.pack("QQQ", files, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = call("landlock_create_ruleset", attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    on_files = 1 | 2 | 4 | (1 << 14) | (1 << 15)  # execute, write, read, truncate, ioctl
    for paths, access in ((readable, 1 | 4 | 8), (writable, files & ~(1 << 15))):
        for path in paths:
            if not os.path.exists(path):
                continue
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = access & files if os.path.isdir(path) else access & files & on_files
            rule = struct.pack("=Qi", allowed, descriptor)
            call("landlock_add_rule", ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint32(0))
            os.close(descriptor)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    call("landlock_restrict_self", ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)
