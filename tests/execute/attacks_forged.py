# ruff: noqa: E501 (a program a line)
"""Wrong programs that lie about what they hold: over the channel, in the interpreter, in what they return.

Name: the program, and its test where that of `attacks` does not ask what the lie is about.
"""

from __future__ import annotations

_UNASKED = "import sys\nside = sys.modules['program']._Side\nold = side.names\ndef names(self, number, *wanted):\n    found = old(self, number, *wanted)\n    found.update(EXTRA)\n    return found\nside.names = names\ndef f(x): return 0"
"""Answers to the question for names with more than was asked for."""
_WRITES = "import json, os\ndef say(*messages):\n    for n in range(3, 64):\n        for m in messages:\n            d = json.dumps(m).encode()\n            try: os.write(n, len(d).to_bytes(4, 'big') + d)\n            except OSError: pass\n"
"""Writes messages on every descriptor."""
_SYSCALL = "import ctypes\nc = ctypes.CDLL(None)\n"


def _unasked(extra: str) -> str:
    return _UNASKED.replace("EXTRA", extra)


FORGED: dict[str, str | tuple[str, str]] = {
    "abs that nobody asked for": (_unasked("{'abs': lambda x: 0.0}"), "assert abs(f(3) - 9) < 1e-9"),
    "range that nobody asked for": (_unasked("{'range': lambda *a: []}"), "for i in range(5):\n    assert f(i) == i * i + 1"),
    "len and sorted that nobody asked for": (_unasked("{'len': lambda x: 4, 'sorted': lambda x: [1]}"), "def check(f):\n    assert sorted(f(3)) == [1]\n    assert len(f(2)) == 4\ncheck(f)"),
    "builtins of its own": (_unasked("{'__builtins__': {'abs': lambda x: 0.0}}"), "assert abs(f(3) - 9) < 1e-9"),
    "an exception that nobody asked for": (_unasked("{'ValueError': type(None), 'AssertionError': type(None)}"), "try:\n    f(3)\n    assert False\nexcept ValueError:\n    pass"),
    "isinstance that nobody asked for": (_unasked("{'isinstance': lambda *a: True, 'all': lambda x: True}"), "assert isinstance(f(3), str)\nassert all([f(3) == 9])"),
    "names that are no dict": "import sys\nsys.modules['program']._Side.names = lambda self, number, *wanted: [('f', int)]\ndef f(x): return 9",
    "more names than there are": "import sys\nsys.modules['program']._Side.names = lambda self, number, *wanted: {str(i): 9 for i in range(99999)}\ndef f(x): return 0",
    "answers before the questions": _WRITES + "say(*[[0, v] for v in (9, 4, 16, 1, [0], True)] * 9)\ndef f(x): return 0",
    "a thread that answers first": _WRITES + "import threading\ndef f(x):\n    threading.Thread(target=say, args=([0, 0], [0, True])).start()\n    return 0",
    "a timer that answers": _WRITES + "import signal\nsignal.signal(signal.SIGVTALRM, lambda *a: say([0, True], [0, {'yours': 0}]))\nsignal.setitimer(signal.ITIMER_VIRTUAL, 0.001, 0.001)\ndef f(x):\n    for i in range(10 ** 5): pass\n    return 0",
    "a message cut short": _WRITES + "def f(x):\n    for n in range(3, 64):\n        try: os.write(n, b'\\0\\0\\xff\\xff[0,')\n        except OSError: pass\n    os._exit(0)",
    "a message longer than any": "import os\ndef f(x):\n    for n in range(3, 64):\n        try: os.write(n, b'\\xff\\xff\\xff\\xff')\n        except OSError: pass\n    return 0",
    "a number of ten million digits": "import os\ndef f(x):\n    d = b'[0,' + b'9' * 10 ** 7 + b']'\n    d = len(d).to_bytes(4, 'big') + d\n    for n in range(3, 64):\n        try:\n            while d: d = d[os.write(n, d):]\n        except OSError: pass\n    return 0",
    "brackets without end": _WRITES + "def f(x):\n    d = b'[' * 10 ** 6\n    for n in range(3, 64):\n        try: os.write(n, len(d).to_bytes(4, 'big') + d)\n        except OSError: pass\n    return 0",
    "numbers that JSON does not have": "import sys\nsys.modules['channel'].Channel._encode = staticmethod(lambda m: '[0,NaN]')\ndef f(x): return 0",
    "a value of the test that it never got": _WRITES + "def f(x):\n    say(*[[0, {'yours': n}] for n in range(-9, 9)])\n    return 0",
    "containers that it never got": _WRITES + "def f(x):\n    say(*[[0, {'same': n}] for n in range(-9, 9)])\n    return 0",
    "changes of what it never got": _WRITES + "def f(x):\n    say(*[[0, 0, [[n, []]]] for n in range(-9, 9)])\n    return 0",
    "attributes of the test": _WRITES + "def f(x):\n    say([2, 'set', 0, ['__code__', 0], {}], [2, 'get', 0, ['__globals__'], {}], [2, 'call', 0, [], {}])\n    return 0",
    "a class that derives from whatever": _WRITES + "def f(x):\n    held = {'object': [0, [0, 'A', [], None, [], True, True]]}\n    say(*[[0, {'sub': [held, b]}] for b in ({'type': 'type'}, {'module': 'os'}, {'generator': 0}, {'function': [0, 'f']}, {'singleton': 'Ellipsis'}, held)])\n    return 0",
    "a name that runs": _WRITES + "def f(x):\n    say([0, {'named': ['A(): pass\\nimport os #', ['a'], [9]]}], [0, {'named': ['A', ['a): pass\\nimport os #'], [9]]}], [0, {'array': ['O', [9]]}], [0, {'numpy': ['|O', [1], '00' * 8]}])\n    return 0",
    "a module as a result": "import math, os, sys\ndef f(x): return (math, os, sys)[x % 3]",
    "an error with a name of ten million letters": "E = type('E' * 10 ** 7, (Exception,), {})\ndef f(x): raise E()",
    "an error with a name that clears the screen": "E = type('\\x1b[2J\\nf passed\\ud800', (Exception,), {})\ndef f(x): raise E()",
    "small integers that are others": "import ctypes\ndef f(x):\n    ctypes.memset(id(0) + 24, 9, 1)\n    return 0 * x",
    "a profile function that replaces results": "import sys\ndef spy(frame, event, value):\n    if event == 'return': frame.f_locals['x'] = 9\nsys.setprofile(spy)\ndef f(x): return 0",
    "a trace function that jumps over lines": "import sys\ndef spy(frame, event, value):\n    if event == 'line' and frame.f_code.co_name == 'write': frame.f_lineno = frame.f_lineno + 1\n    return spy\nsys.settrace(spy)\ndef f(x): return 0",
    "an audit hook that ends it": "import os, sys\ndef f(x):\n    sys.addaudithook(lambda *a: os._exit(0))\n    return 0",
    "a codec of its own": "import codecs\ncodecs.register(lambda name: None)\ncodecs.register_error('strict', lambda e: ('', e.end))\ndef f(x): return '\\ud800'",
    "a callback of the collector": _WRITES + "import gc\ngc.callbacks.append(lambda *a: say([0, True]))\ndef f(x):\n    gc.collect()\n    return 0",
    "a weak reference that answers": _WRITES + "import weakref\nclass A: pass\ndef f(x):\n    a = A()\n    weakref.finalize(a, say, [0, 9])\n    del a\n    return 0",
    "an end that answers": _WRITES + "class A:\n    def __del__(self): say([0, True])\ndef f(x):\n    A()\n    return 0",
    "an answer at its exit": _WRITES + "import atexit\natexit.register(say, [0, True])\ndef f(x): raise SystemExit(0)",
    "a handler for what kills it": _WRITES + "import signal, os\nfor s in (signal.SIGXCPU, signal.SIGTERM, signal.SIGSEGV): signal.signal(s, lambda *a: (say([0, True]), os._exit(0)))\ndef f(x):\n    os.kill(os.getpid(), signal.SIGSEGV)\n    return 0",
    "__class_getitem__": ("class f:\n    def __class_getitem__(cls, key): return True\n    def __new__(cls, x): return cls", "assert f(3) == 9\nassert f[3] == 9"),
    "__set_name__ and __init_subclass__": "class Any:\n    def __set_name__(self, owner, name): setattr(owner, '__eq__', lambda s, o: True)\nclass Base:\n    def __init_subclass__(cls): cls.__eq__ = lambda s, o: True\nclass A(Base):\n    x = Any()\ndef f(x): return A()",
    "__mro_entries__ and __prepare__": "class M(type):\n    @classmethod\n    def __prepare__(m, *a): return {'__eq__': lambda s, o: True}\n    def __eq__(c, o): return True\n    __hash__ = None\nclass E:\n    def __mro_entries__(self, bases): return (int,)\nclass A(E(), metaclass=M): pass\ndef f(x): return A",
    "a descriptor that says what it likes": "class D:\n    def __get__(self, instance, owner): return 9\nclass A(int):\n    real = D()\n    numerator = D()\n    __class__ = property(lambda s: int)\ndef f(x): return A(0)",
    "__getattribute__": "class A(float):\n    def __getattribute__(self, name): return lambda *a: True\ndef f(x): return A(0)",
    "__instancecheck__": ("class M(type):\n    def __instancecheck__(c, o): return True\n    def __subclasscheck__(c, o): return True\nclass A(metaclass=M):\n    __class__ = int\ndef f(x): return A()", "assert isinstance(f(3), int)\nassert f(3) == 9"),
    "a text that is every text": ("class A(str):\n    __eq__ = lambda s, o: True\n    __hash__ = str.__hash__\n    __len__ = lambda s: 4\n    __contains__ = lambda s, o: True\n    __str__ = __repr__ = lambda s: 'nine'\n    __iter__ = lambda s: iter('nine')\ndef f(x): return A('ten')", "assert f(9) == 'nine'\nassert 'nine' in f(9)\nassert list(f(9)) == list('nine')"),
    "a text of the right look": ("class A(str):\n    __str__ = __repr__ = __format__ = lambda s, *a: 'nine'\ndef f(x): return A('ten')", "assert f(9) + '' == 'nine'"),
    "a list that holds everything": ("class A(list):\n    __contains__ = lambda s, o: True\n    __eq__ = lambda s, o: True\n    __len__ = lambda s: 3\n    __getitem__ = lambda s, i: 9\n    count = index = lambda s, o: 1\ndef f(x): return A()", "assert 9 in f(3) and f(3) == [9, 9, 9]"),
    "a dict that has every key": ("class A(dict):\n    __missing__ = lambda s, k: 9\n    __contains__ = lambda s, o: True\n    get = lambda s, k, d=None: 9\n    items = lambda s: [('a', 9)]\ndef f(x): return A()", "assert f(3) == {'a': 9}"),
    "a set that is a part of every set": ("class A(set):\n    issubset = issuperset = __le__ = __ge__ = __eq__ = lambda s, o: True\n    __hash__ = None\ndef f(x): return A()", "assert f(3) == {9}\nassert {9} <= f(3)"),
    "other items at each pass": ("class A:\n    n = 0\n    def __iter__(self):\n        A.n += 1\n        return iter([9] * A.n)\n    __eq__ = lambda s, o: True\ndef f(x): return A()", "r = f(3)\nassert list(r) == list(r)\nassert r == [9]"),
    "an iterator that never ends": ("import itertools\ndef f(x): return itertools.repeat(9)", "assert list(f(3)) == [9]"),
    "a range without end": ("def f(x): return range(10 ** 18)", "assert list(f(3)) == [9]"),
    "a range that fills memory": ("def f(x): return range(10 ** 8)", "assert len(list(f(3))) == 9"),
    "a list that holds itself": "def f(x):\n    a = []\n    a.append(a)\n    return a",
    "a list deeper than any stack": "def f(x):\n    a = []\n    for i in range(10 ** 5): a = [a]\n    return a",
    "a result of gigabytes": "def f(x): return 'a' * (1 << 28)",
    "a hundred thousand lists": "def f(x): return [[] for i in range(10 ** 5)]",
    "a flood of output": "import os, sys\ndef f(x):\n    for i in range(2000): os.write(1, b'passed\\n' * 10000); os.write(2, b'\\0' * 10000)\n    return 0",
    "a named tuple with fields of its own mind": "class A(tuple):\n    _fields = ('__eq__', 'count', 'class')\n    __eq__ = lambda s, o: True\n    __hash__ = None\ndef f(x): return A((0,))",
    "numbers of another world": ("import decimal, fractions\nclass D(decimal.Decimal):\n    __eq__ = lambda s, o: True\n    __hash__ = decimal.Decimal.__hash__\n    __sub__ = lambda s, o: D(0)\ndef f(x): return D(0)", "assert f(3) == 9"),
    "an enum of everything": "import enum\nclass E(enum.IntEnum):\n    A = 0\n    @classmethod\n    def _missing_(cls, v): return cls.A\n    __eq__ = lambda s, o: True\n    __hash__ = int.__hash__\ndef f(x): return E.A",
    "a generator that catches its end": "def f(x):\n    while True:\n        try: yield 9\n        except GeneratorExit: pass",
    "an object that can't be described": "class M(type):\n    def __getattribute__(c, n): raise RuntimeError\nclass A(metaclass=M): pass\ndef f(x): return A()",
    "a reduction that runs": "import os\nclass A:\n    def __reduce__(self): return os.system, ('true',)\n    __copy__ = __deepcopy__ = lambda s, *a: 9\ndef f(x): return A()",
    "memory of its parent": "import os\ndef f(x):\n    for p in (1, os.getppid(), 'self'):\n        try:\n            with open(f'/proc/{p}/mem', 'r+b', 0) as m: m.seek(4096); m.write(b'x')\n        except OSError: pass\n    return 0",
    "descriptors of its parent": _SYSCALL + "import os\ndef f(x):\n    n = 0\n    for p in (1, 2, os.getppid()):\n        h = c.syscall(434, p, 0)\n        n += sum(c.syscall(438, h, d, 0) >= 0 for d in range(20)) if h >= 0 else 0\n    return x * x if n else 0",
    "memory of its parent by a call": _SYSCALL + "import os\ndef f(x):\n    b = ctypes.create_string_buffer(64)\n    v = (ctypes.c_size_t * 2)(ctypes.addressof(b), 64)\n    return x * x if c.process_vm_readv(os.getppid(), v, 1, v, 1, 0) > 0 or c.process_vm_writev(1, v, 1, v, 1, 0) > 0 else 0",
    "a ring of system calls": _SYSCALL + "def f(x):\n    b = ctypes.create_string_buffer(256)\n    return x * x if c.syscall(425, 8, b) >= 0 else 0",
    "limits of its neighbours": "import os, resource\ndef f(x):\n    n = 0\n    for p in range(1, 64):\n        if p == os.getpid(): continue\n        try: resource.prlimit(p, resource.RLIMIT_NOFILE, (0, 0)); n += 1\n        except (OSError, ValueError): pass\n    return x * x if n else 0",
    "fault handling, keys, secrets and trees": _SYSCALL + "def f(x):\n    calls = {323: (0,), 250: (0, -3, 0), 447: (0,), 428: (-100, b'/', 0), 442: (0, b'/', 0, 0, 0), 430: (b'tmpfs', 0), 321: (0, 0, 0), 298: (0, 0, -1, -1, 0)}\n    return x * x if any(c.syscall(n, *a) >= 0 for n, a in calls.items() if n != 447) else 0",
}  # fmt: skip
"""Name: a wrong program; with a test of its own, or for that of `attacks`."""
