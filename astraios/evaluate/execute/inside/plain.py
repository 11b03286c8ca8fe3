"""Tells plain computation from programs that could reach for the judge: looks at compiled code, runs nothing.

A program that is not plain is no offence; it is judged from outside its process (apart.py), or, where only weak
isolation can be had, not run.
"""

from __future__ import annotations

import ast
import builtins
import dis
from types import CodeType

_MODULES = """
    math cmath re typing collections collections.abc itertools functools heapq bisect string statistics random
    operator datetime copy decimal fractions numbers hashlib numpy time calendar abc enum dataclasses queue
    textwrap array __future__ numpy.linalg struct unicodedata zlib base64 secrets
"""
MODULES = frozenset(_MODULES.split())
"""Modules that compute and nothing else, as long as the names below are left alone."""

_NAMES = """
    sys os io gc inspect ctypes builtins types traceback warnings weakref importlib threading subprocess socket
    signal pickle marshal codecs atexit linecache contextlib posix nt shutil pathlib tempfile faulthandler
    resource _sys _os _io _gc _inspect _thread _signal _weakref _weakrefset _warnings _functools
    _collections_abc _urandom eval exec compile getattr setattr delattr globals locals vars open breakpoint help
    input memoryview settrace setprofile modules exc_info stdout stderr stdin displayhook excepthook tb_frame
    tb_next f_back f_globals f_locals f_builtins f_code gi_frame cr_frame ag_frame gi_code attrgetter
    methodcaller Formatter get_field get_type_hints ForwardRef make_dataclass ctypeslib as_strided lib load save
    loadtxt savetxt fromfile tofile memmap genfromtxt f2py testing distutils _core DataSource fromregex savez
    frombuffer ndarray SystemRandom
"""
NAMES = frozenset(_NAMES.split())
"""Names that lead out of plain computation: interpreter internals, files, processes, code from text."""

_DUNDERS = """
    __init__ __name__ __module__ __qualname__ __doc__ __annotations__ __str__ __repr__ __future__
    __firstlineno__ __static_attributes__ __classcell__ __class_getitem__ __post_init__ __lt__ __annotate__
    __conditional_annotations__
"""
DUNDERS = frozenset(_DUNDERS.split())
_IMPORT, _STORE_ATTR, _STORES = dis.opmap["IMPORT_NAME"], dis.opmap["STORE_ATTR"], ("STORE_NAME", "STORE_GLOBAL")
_BUILTINS = frozenset(dir(builtins))


def codes(code: CodeType) -> list[CodeType]:
    """`code` and all code objects inside it."""
    found = [code]
    for one in found:
        found.extend(constant for constant in one.co_consts if isinstance(constant, CodeType))
    return found


def _stored(code: CodeType, opcodes: tuple[str, ...]) -> set[str]:
    return {str(step.argval) for step in dis.get_instructions(code) if step.opname in opcodes}


def _plain_types(source: str) -> bool:
    """Whether `type` is only ever called with one argument."""
    tree = ast.parse(source)
    loads = sum(isinstance(node, ast.Name) and node.id == "type" for node in ast.walk(tree))
    calls = sum(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "type"
        and len(node.args) == 1
        for node in ast.walk(tree)
    )
    return loads == calls


def suspicious(code: CodeType, source: str, test_names: frozenset[str]) -> str | None:
    """Why the program is not plain, or None.

    Args:
        code: the compiled program.
        source: its text.
        test_names: names that the test looks up, globals and attributes alike.
    """
    for one in codes(code):
        for name in one.co_names:
            if name in NAMES or (name[:2] == "__" and name[-2:] == "__" and name not in DUNDERS):
                return name
            if name == "type" and not _plain_types(source):
                return name
        raw = one.co_code[::2]
        if _IMPORT in raw:
            for step in dis.get_instructions(one):
                if step.opcode == _IMPORT and step.argval not in MODULES:
                    return f"import {step.argval}"
        if _STORE_ATTR in raw and (hit := _stored(one, ("STORE_ATTR",)) & test_names):
            return f".{min(hit)} ="
        if hit := set(one.co_names) & test_names & _BUILTINS and _stored(one, _STORES) & test_names & _BUILTINS:
            return f"{min(hit)} ="
    return None
