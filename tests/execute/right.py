"""Five hundred right programs and their tests: values of every kind, each on every road out of a program."""

from __future__ import annotations

IMPORTS = (
    "import collections, datetime, decimal, fractions, itertools, math, array\n"
    "from collections import Counter, OrderedDict, defaultdict, deque, namedtuple\n"
    "import numpy as np\n"
)
VALUES = (
    "None", "True", "-7", "2 ** 300", "-(10 ** 40)", "0.1 + 0.2", "float('inf')", "complex(1, -2)", "'h\\u00e9\\0\\n'",
    "b'\\x00\\xff'", "[1, [2, [3, []]]]", "(1, (2,), ())", "{1, 2, 3}", "frozenset('ab')",
    "{'a': [1], (1, 2): {'b': None}}", "Counter('aab')", "OrderedDict([('b', 1), ('a', 2)])",
    "defaultdict(list, {'a': [1]})", "deque([1, 2], maxlen=3)", "range(1, 10, 3)", "fractions.Fraction(2, 6)",
    "decimal.Decimal('1.10')", "datetime.date(2024, 2, 29)", "datetime.timedelta(1, 2)", "bytearray(b'ab')",
    "collections.ChainMap({'a': 1}, {'b': 2})", "array.array('d', [1.5, 2.5])", "np.float64(1.5)", "int",
)  # fmt: skip
"""Expressions, understood by the program and by its test alike."""
ROADS: dict[str, tuple[str, str]] = {
    "returned": ("def f():\n    return VALUE", "assert f() == VALUE"),
    "twice": ("def f():\n    return VALUE", "assert f() == f() == VALUE\nassert not f() != VALUE"),
    "in a list": ("def f():\n    return [VALUE, VALUE]", "assert f() == [VALUE] * 2\nassert len(f()) == 2"),
    "in a tuple": ("def f():\n    return 1, VALUE", "one, value = f()\nassert (one, value) == (1, VALUE)"),
    "in a dict": ("def f():\n    return {'k': VALUE}", "assert f()['k'] == VALUE\nassert f() == {'k': VALUE}"),
    "in a dict of a kind": (
        "def f():\n    d = defaultdict(list)\n    d['k'].append(VALUE)\n    return d",
        "assert f() == {'k': [VALUE]}\nassert f()['other'] == []",
    ),
    "in a named tuple": (
        "P = namedtuple('P', 'x y')\ndef f():\n    return P(VALUE, 0)",
        "assert f().x == VALUE\nassert f() == (VALUE, 0)\nassert f()._asdict() == {'x': VALUE, 'y': 0}",
    ),
    "from a generator": ("def f():\n    yield VALUE\n    yield VALUE", "assert list(f()) == [VALUE] * 2"),
    "from a map": ("def f():\n    return map(lambda n: VALUE, range(3))", "assert list(f()) == [VALUE] * 3"),
    "from an iterator": ("def f():\n    return iter([VALUE])", "assert next(f()) == VALUE\nassert [*f()] == [VALUE]"),
    "from an endless one": (
        "def f():\n    return itertools.repeat(VALUE)",
        "assert list(itertools.islice(f(), 2)) == [VALUE] * 2",
    ),
    "as an attribute": (
        "class Box:\n    def __init__(self, value): self.value = value\ndef f():\n    return Box(VALUE)",
        "assert f().value == VALUE\nassert isinstance(f(), Box)",
    ),
    "from a method": (
        "class Box:\n    def get(self, n=1): return VALUE",
        "box = Box()\nassert box.get() == VALUE\nassert box.get(n=2) == VALUE",
    ),
    "in a dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass Box:\n    value: object\ndef f():\n    return Box(VALUE)",
        "assert f().value == VALUE\nassert f() == Box(VALUE)\nassert f() != Box('another')",
    ),
    "from a closure": ("def f():\n    return lambda: VALUE", "assert f()() == VALUE\nassert callable(f())"),
    "given and given back": ("def f(value):\n    return value", "value = VALUE\nassert f(value) == VALUE == value"),
    "put into an argument": (
        "def f(into):\n    into.append(VALUE)",
        "into = []\nassert f(into) is None\nassert into == [VALUE]",
    ),
    "changed in place": (
        "import array\ndef f(a, b):\n    a.append(2.5)\n    b.extend(b'c')\n    return VALUE",
        "a, b = array.array('d', [1.5]), bytearray(b'a')\nassert f(a, b) == VALUE\n"
        "assert a == array.array('d', [1.5, 2.5])\nassert b == b'ac'",
    ),
    "with an error": (
        "def f():\n    raise ValueError(VALUE)",
        "try:\n    f()\nexcept ValueError as error:\n    assert error.args == (VALUE,)\nelse:\n    assert False",
    ),
}
"""How a value comes to the test: the program, and the test."""


def programs() -> dict[str, tuple[str, str]]:
    """Each value on each road."""
    return {
        f"{value} {road}": (IMPORTS + code.replace("VALUE", value), IMPORTS + test.replace("VALUE", value))
        for value in VALUES
        for road, (code, test) in ROADS.items()
    }
