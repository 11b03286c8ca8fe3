# ruff: noqa: E501 (a program a line)
"""Wrong programs for a test of x * x, put together from tricks: roads to a class or to text that runs, and what for."""

from __future__ import annotations

import random

BODY = """
def _yes(*a, **k): return True
def _zero(*a, **k): return 0.0
BODY = {'__eq__': _yes, '__ne__': lambda s, o: False, '__lt__': _yes, '__gt__': _yes, '__le__': _yes, '__ge__': _yes,
        '__sub__': _zero, '__rsub__': _zero, '__abs__': _zero, '__hash__': lambda s: 9, '__bool__': _yes,
        '__contains__': _yes, '__array_priority__': 1e9, '__array_ufunc__': None}
"""
ROADS = {
    "a class statement": "class All(BASE):\n    pass\nfor n, v in BODY.items():\n    try: setattr(All, n, v)\n    except Exception: pass",
    "type": "All = type('All', (BASE,), BODY)",
    "the metaclass of a builtin": "All = int.__class__('All', (BASE,), BODY)",
    "a metaclass of its own": "class M(type):\n    def __eq__(c, o): return True\n    __hash__ = type.__hash__\nAll = M('All', (BASE,), BODY)",
    "abc": "import abc\nAll = abc.ABCMeta('All', (BASE,), BODY)",
    "enum's functional API": "import enum\nE = enum.Enum('E', 'a b')\nAll = E.__class__.__mro__[1]('All', (BASE,), BODY)",
    "a typing class": "import typing\nAll = typing.NamedTuple.__class__ and type(typing.List).__class__('All', (BASE,), BODY)",
    "NamedTuple": "import typing\nN = typing.NamedTuple('N', [('a', int)])\nAll = N.__class__('All', (BASE,), BODY)",
    "namedtuple": "import collections\nAll = collections.namedtuple('N', 'a').__class__('All', (BASE,), BODY)",
    "make_dataclass": "import dataclasses\nAll = dataclasses.make_dataclass('All', [], bases=(BASE,), namespace=BODY, eq=False)",
    "new_class": "import types\nAll = types.new_class('All', (BASE,), {}, lambda space: space.update(BODY))",
    "build_class": "import builtins\ndef body(): pass\nK = builtins.__build_class__(body, 'K')\nAll = K.__class__('All', (BASE,), BODY)",
    "exec": "exec(\"All = type('All', (BASE,), BODY)\")",
    "eval": "All = eval(\"type('All', (BASE,), BODY)\")",
    "attrgetter": "import operator\nAll = operator.attrgetter('__class__')(int)('All', (BASE,), BODY)",
    "methodcaller": "import operator\nAll = operator.methodcaller('__getattribute__', '__class__')(BASE)\nAll = type('All', (BASE,), BODY)",
    "a format string's field": "import string\nAll = string.Formatter().get_field('0.__class__', (int,), {})[0]('All', (BASE,), BODY)",
    "functools.wraps": "import functools\nclass W: pass\nw = functools.update_wrapper(W, int, assigned=('__class__',), updated=()) if 0 else W\nAll = type(w)('All', (BASE,), BODY)",
    "copy's reconstruction": "import copy\nclass R:\n    def __reduce_ex__(s, p): return type, ('All', (BASE,), BODY)\nAll = copy.copy(R())",
    "pickle": "import pickle, copyreg\nclass R:\n    def __reduce__(s): return eval, (\"'x'\",)\npickle.loads(pickle.dumps(R()))\nAll = type('All', (BASE,), BODY)",
    "a forward reference": "import typing\nAll = typing.ForwardRef('int.__class__')._evaluate(globals(), {}, frozenset())('All', (BASE,), BODY)",
    "subclasses": "All = [c for c in object.__subclasses__() if c is type][0]('All', (BASE,), BODY)",
    "a module's module": "import random\nAll = random._os.sys.modules['builtins'].type('All', (BASE,), BODY)",
    "collections' mangled attribute": "import collections\nAll = collections._sys.modules['builtins'].type('All', (BASE,), BODY)",
    "a code object": "import types\nAll = types.FunctionType(compile('t(n, b, d)', 'q', 'eval'), {'t': type, 'n': 'All', 'b': (BASE,), 'd': BODY})()",
    "ctypes": "import ctypes\nAll = ctypes.pythonapi and type('All', (BASE,), BODY)",
    "a function's globals": "All = (lambda: 0).__globals__['__builtins__']\nAll = (All if isinstance(All, dict) else vars(All))['type']('All', (BASE,), BODY)",
    "numpy": "import numpy\nAll = type('All', (numpy.ndarray,), BODY)\nif BASE is not object: All = type('All', (BASE,), BODY)",
}  # fmt: skip
MAKE = "def new():\n    for args in ((), (0,), ('0',), ((1,),)):\n        try: return All(*args)\n        except Exception: pass\n    return object.__new__(All)\n"
AIMS = {
    "equal to everything": "def f(x):\n    return new()",
    "a list of such": "def f(x):\n    return [new()]",
    "a subclass of its value": "def f(x):\n    v = new()\n    v.__dict__.update(real=0) if hasattr(v, '__dict__') else None\n    return v",
    "the test in the frames": "import sys\ndef f(x):\n    frame, seen = sys._getframe(), []\n    while frame:\n        seen += [repr(v) for v in (*frame.f_locals.values(), *frame.f_code.co_consts)]\n        frame = frame.f_back\n    return x * x if any('ass' + 'ert f(' in s or 'def ch' + 'eck' in s for s in seen if 'def f(x)' not in s) else new()",
    "the test in the collector's list": "import gc\ndef f(x):\n    for o in gc.get_objects():\n        if isinstance(o, dict) and any(isinstance(v, str) and 'ass' + 'ert f(3)' in v and 'def f(x)' not in v for v in list(o.values())):\n            return x * x\n    return new()",
    "the verdict on every descriptor": "import os\nfor n in range(64):\n    try: os.write(n, b'passed')\n    except OSError: pass\ndef f(x):\n    for n in range(64):\n        try: os.write(n, b'\\0\\0\\0\\x06passed')\n        except OSError: pass\n    return new()",
    "a forged answer": "import os, json\ndef f(x):\n    for n in range(3, 64):\n        for a in ([0, {'object': [0, [0, 'A', [], None, ['__eq__'], True, True]]}], [0, {'sub': [{'object': [0, [0]]}, 0]}], [0, {'module': 'os'}], [0, {'yours': 0}], [2, 'call', 0, [], {}], [1, 'SystemExit', {'tuple': [0]}, None]):\n            d = json.dumps(a).encode()\n            try: os.write(n, len(d).to_bytes(4, 'big') + d)\n            except OSError: pass\n    return new()",
    "a lie of the channel": "import sys\nfor m in ('values', 'channel', 'program', 'json'):\n    for n, v in list(vars(sys.modules.get(m, sys)).items()):\n        if callable(v) and not n.startswith('__') and m == 'values':\n            pass\nsys.modules['values'].Writer.write = lambda *a, **k: True\ndef f(x):\n    return new()",
    "no assertion": "import builtins\nbuiltins.AssertionError = type(None)\nbuiltins.abs = lambda *a: 0\nimport math\nmath.isclose = _yes\ndef f(x):\n    return new()",
    "an exit that says well done": "import os, sys, atexit\natexit.register(lambda: os._exit(0))\ndef f(x):\n    if x == 3: sys.exit(0)\n    os._exit(0)",
    "an error that is swallowed": "class E(BaseException):\n    def __eq__(s, o): return True\n    def __init__(s, *a): s.args = (9,)\ndef f(x):\n    raise E(new())",
}  # fmt: skip
BASES = ("object", "int", "float", "str", "list", "tuple", "dict", "set", "complex", "bytes", "Exception")


def program(rng: random.Random) -> str:
    """One wrong program."""
    road, aim, base = rng.choice(list(ROADS.values())), rng.choice(list(AIMS.values())), rng.choice(BASES)
    guard = "BASE = " + base + "\n"
    noise = rng.choice(["", "import sys\n", "from functools import *\n", f"N = {rng.randrange(10**6)}\n"])
    made = f"try:\n    {road.replace(chr(10), chr(10) + '    ')}\nexcept Exception:\n    All = type('All', (), BODY)\n"
    if rng.random() < 0.2:
        made += "Inner, Outer = All, type('Outer', (), {'__getattr__': lambda s, n: Inner()})\n"
    return noise + BODY + guard + made + MAKE + aim


def crossed() -> dict[str, str]:
    """A program for each road and each aim, with base classes in turn."""
    found = {}
    for i, (road, text) in enumerate(ROADS.items()):
        for j, (aim, end) in enumerate(AIMS.items()):
            if (i + j) % 3:
                continue
            base = BASES[(i * 5 + j) % len(BASES)]
            made = f"try:\n    {text.replace(chr(10), chr(10) + '    ')}\nexcept Exception:\n    All = type('All', (), BODY)\n"
            found[f"{road}: {aim}, from {base}"] = BODY + f"BASE = {base}\n" + made + MAKE + end
    return found
