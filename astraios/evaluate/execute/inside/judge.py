"""The judge inside a jail of its own: runs tests, while the programs run elsewhere and are asked over a channel.

Requests and verdicts are JSON behind a length of four bytes, over the descriptors that were 0 and 1; the worker that
runs programs is at the end of a socket.
"""

from __future__ import annotations

import ast
import builtins
import dis
import gc
import json
import marshal
import math
import os
import random
import re
import resource
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from types import CodeType
from typing import Any

import system
from channel import Channel, Closed
from remote import DiedError, Mistaken, Session
from values import Writer
from worker import ENDED, exactly, silence

_NUMPY = re.compile(r"\b(np|numpy)\b")
_IMPORTS_NUMPY = re.compile(r"^import numpy( as \w+)?[ \t]*$", re.MULTILINE)
STACK = 256 << 20
"""Bytes: values can be nested deeper than a program's own limit of recursion."""
COMPILED_HERE = 20_000
"""Characters of a program that is compiled on the judge's side."""
SLACK = 512 << 20
"""Bytes for the modules that a test imports."""


@dataclass(frozen=True)
class Test:
    """A test, compiled."""

    code: CodeType
    names: list[str]
    """What it may mean of the program."""
    plan: list[Any]
    """Calls that it makes first, as [name, arguments as text]; emptied when it turns out to make others."""
    handed: frozenset[str]
    """Those that it hands to a function of its own, as in check(sum): the program's whatever else has the name."""


def _codes(code: CodeType) -> list[CodeType]:
    found = [code]
    for one in found:
        found.extend(constant for constant in one.co_consts if isinstance(constant, CodeType))
    return found


def understand(text: str) -> Test:
    """Compile a test and find the names that it looks up outside of itself."""
    tree = ast.parse(text)
    code = compile(tree, "<test>", "exec")
    steps = [step for one in _codes(code) for step in dis.get_instructions(one)]
    used = {str(step.argval) for step in steps if step.opname in ("LOAD_NAME", "LOAD_GLOBAL", "DELETE_NAME")}
    made = {str(step.argval) for step in dis.get_instructions(code) if step.opname == "STORE_NAME"}
    handed = {
        argument.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in made
        for argument in node.args
        if isinstance(argument, ast.Name)
    }
    names = sorted(name for name in used - made if name in handed or not hasattr(builtins, name))
    return Test(code, names, plan(tree, set(names)), frozenset(handed))


def plan(tree: ast.Module, names: set[str]) -> list[Any]:
    """The calls of the program with which a test begins, as long as their arguments are literals.

    Only literals: nothing that another program answered may reach this one.
    """
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    calls = [node.value for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    body, meant = tree.body, {name: name for name in names}
    if len(calls) == 1 and isinstance(calls[0].func, ast.Name) and calls[0].func.id in functions:
        check = functions[calls[0].func.id]
        if len(check.args.args) != len(calls[0].args) or calls[0].keywords:
            return []
        body = check.body
        for parameter, argument in zip(check.args.args, calls[0].args, strict=True):
            meant.pop(parameter.arg, None)
            if isinstance(argument, ast.Name) and argument.id in names:
                meant[parameter.arg] = argument.id
    found: list[Any] = []
    for statement in body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            continue
        if not isinstance(statement, (ast.Assert, ast.Expr)) or not _plan_of(statement, meant, found):
            break
    return found


def _plan_of(node: ast.AST, meant: dict[str, str], found: list[Any]) -> bool:
    """Add the calls below a node in the order of their evaluation; False where it can't be told."""
    if isinstance(node, (ast.BoolOp, ast.IfExp, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return False
    if isinstance(node, ast.Assert):
        return _plan_of(node.test, meant, found)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in meant:
        try:
            args = [ast.literal_eval(argument) for argument in node.args]
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return False
        found.append([meant[node.func.id], Writer(lambda value: None).write(args)])
        return not node.keywords
    return all(_plan_of(child, meant, found) for child in ast.iter_child_nodes(node))


def compiled(text: str) -> str | None:
    """A program's code, marshalled, as hexadecimal digits; None where the program's own process has to see to it.

    To compile runs nothing of a program. Here it touches no page that a fork would have to copy, which is a fifth of
    what a program costs. What is long, or does not compile, is left to a process with the program's own limits.
    """
    if len(text) > COMPILED_HERE or "__future__" in text:
        return None
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    try:
        return marshal.dumps(compile(text, "<program>", "exec")).hex()
    except Exception:
        return None
    finally:
        sys.setrecursionlimit(limit)


class Judge:
    """Judges one program after the other."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.tests: dict[str, Test] = {}
        self.preambles: dict[str, dict[str, Any]] = {}
        self.requests, self.replies = os.dup(0), os.dup(1)
        self.worker = socket.socket(fileno=config["peers"][0])
        silence()
        system.Filter(processes=False, sockets=False).install()
        sys.set_int_max_str_digits(0)

    def run(self) -> None:
        """Serve until the requests end or the worker does."""
        gc.collect()
        gc.freeze()
        self._reply({"ready": True})
        while (head := self._read(4)) is not None:
            data = self._read(int.from_bytes(head, "big")) or b"null"
            request = json.loads(data)
            judged = "test" in request
            reply = self.python(request) if judged else self._relay(data)
            self._reply({**reply, "id": request["id"]})

    def _reply(self, reply: dict[str, Any]) -> None:
        data = json.dumps(reply).encode()
        data = len(data).to_bytes(4, "big") + data
        while data:
            data = data[os.write(self.replies, data) :]

    def _read(self, size: int) -> bytes | None:
        parts = []
        while size:
            part = os.read(self.requests, size)
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _to_worker(self, data: bytes) -> None:
        self.worker.sendall(len(data).to_bytes(4, "big") + data)

    def _from_worker(self, size: int) -> bytes:
        data = exactly(self.worker, size)
        if data is None:
            raise OSError("the worker is gone")
        return data

    def _relay(self, data: bytes) -> dict[str, Any]:
        """A command that is run in the worker's jail."""
        self._to_worker(data)
        return dict(json.loads(self._from_worker(int.from_bytes(self._from_worker(4), "big"))))

    def python(self, request: dict[str, Any]) -> dict[str, Any]:
        """Verdict on one Python program."""
        test = self._test(request["test"])
        preamble = self._preamble(request["whole"], request["test"])
        self._limit(request)
        asked = {name: request[name] for name in ("preamble", "late", "code", "cpu", "wall", "memory")}
        self._to_worker(json.dumps({**asked, "compiled": compiled(request["code"])}).encode())
        _, descriptors, _, _ = socket.recv_fds(self.worker, 1, 1)
        if not descriptors:
            raise OSError("the worker is gone")
        channel = Channel(descriptors[0])
        random.seed(0)
        try:
            outcome = self._outcome(channel, test, preamble)
        finally:
            os.close(descriptors[0])
        self.worker.sendall(b"e")
        status, late, cpu = ENDED.unpack(self._from_worker(ENDED.size))
        if outcome == "mistaken":
            test.plan.clear()
            return self.python(request)
        if channel.closed and outcome != "memory":
            outcome = ended(status, late, cpu, request["cpu"]) or outcome
        return {"verdict": outcome, "cpu": cpu}

    def _outcome(self, channel: Channel, test: Test, preamble: dict[str, Any]) -> str:
        space = dict(preamble)
        session = Session(channel, space)
        try:
            found = session.names(test.names, test.plan)
            space.update((name, value) for name, value in found.items() if name in test.handed or name not in preamble)
            exec(test.code, space)
            outcome = "failed ended without a verdict" if channel.closed else "passed"
        except Closed as error:
            channel.closed = True
            outcome = f"failed {error}" if str(error) != "closed" else "failed ended without a verdict"
        except Mistaken:
            return "mistaken"
        except MemoryError:
            outcome = "memory"
        except DiedError as error:
            outcome = "memory" if str(error) == "MemoryError" else f"failed {error}"
        except BaseException as error:
            outcome = f"failed {ascii(type(error).__name__)[1:61]}".rstrip("'")
        return "mistaken" if session.mistaken else outcome

    def _test(self, text: str) -> Test:
        if text not in self.tests:
            if len(self.tests) > 512:
                self.tests.clear()
            self.tests[text] = understand(text)
        return self.tests[text]

    def _preamble(self, text: str, test: str) -> dict[str, Any]:
        """What a preamble makes; its import of numpy is left out where the test does not use it."""
        if not _NUMPY.search(test):
            text = _IMPORTS_NUMPY.sub("", text)
        if text not in self.preambles:
            namespace: dict[str, Any] = {}
            exec(compile(text, "<preamble>", "exec"), namespace)
            self.preambles[text] = namespace
        return self.preambles[text]

    def _limit(self, request: dict[str, Any]) -> None:
        """A value can be made so that what the test does with it never ends or fills memory: then this process ends."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        seconds = math.ceil(usage.ru_utime + usage.ru_stime + 2 * request["cpu"]) + 2
        system.soft_limit(resource.RLIMIT_CPU, seconds)
        size = self.config["base_bytes"] + STACK + SLACK + 2 * request["memory"]
        system.soft_limit(resource.RLIMIT_AS, size)


def ended(status: int, late: bool, cpu: float, limit: float) -> str | None:
    """What the end of a program's process says; None where it says nothing."""
    if late:
        return "timeout"
    if not os.WIFSIGNALED(status):
        return None
    if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        # The kernel counts ticks against the limit and tells exact times: up to a tenth lies between them, or more on
        # a machine that is itself made to wait.
        return "timeout" if cpu >= math.ceil(limit) / 2 else None
    return f"crashed {signal.Signals(os.WTERMSIG(status)).name}"


def serve(config: dict[str, Any]) -> None:
    """Judge in this process until the requests end, then end it."""

    def run() -> None:
        try:
            sys.setrecursionlimit(20_000)
            Judge(config).run()
        except OSError:
            os._exit(3)
        os._exit(0)

    threading.stack_size(STACK)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    os._exit(4)
