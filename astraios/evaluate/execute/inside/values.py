"""Values on their way between a test and a program: plain data is rebuilt, the rest is held and asked from afar.

Both sides use this module, and neither trusts what arrives: a message can make nothing but the kinds below.
A text is JSON; what JSON has no word for is {kind: content}. Lists, dicts and other containers that can change are
numbered as they are met, so that one that is met again, an argument that comes back for instance, stays the same
object.
"""

from __future__ import annotations

import builtins
import collections
import importlib
import math
import re
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

from channel import Closed

DEPTH = 60
"""Levels of nesting up to which values are written as they stand; deeper ones as a table."""
MODULES = frozenset(
    [
        "math",
        "cmath",
        "re",
        "typing",
        "collections",
        "collections.abc",
        "itertools",
        "functools",
        "heapq",
        "bisect",
        "string",
        "statistics",
        "random",
        "operator",
        "datetime",
        "copy",
        "decimal",
        "fractions",
        "numbers",
        "hashlib",
        "numpy",
        "time",
        "calendar",
        "abc",
        "enum",
        "dataclasses",
        "queue",
        "textwrap",
        "array",
        "json",
        "sys",
        "os",
    ]
)
"""Modules that a test may mean by a name which the program imported."""
TYPES = frozenset(
    [
        "bool",
        "int",
        "float",
        "complex",
        "str",
        "bytes",
        "bytearray",
        "list",
        "tuple",
        "dict",
        "set",
        "frozenset",
        "range",
        "object",
        "slice",
    ]
)
_NUMPY = re.compile(r"[<>|=]?[biufcSUmM][0-9]*(\[[a-z0-9]+\])?")
_INTEGER = 1 << 60


class Writer:
    """Writes the values of one message.

    Args:
        hold: text of an object that is no plain data.
        known: containers that both sides have met already, in their order.
        live: classes whose objects are held even where they derive from plain data.
    """

    def __init__(self, hold: Callable[[Any], Any], known: Iterable[Any] = (), live: tuple[type, ...] = ()) -> None:
        self.hold, self.live = hold, live
        self.seen = list(known)
        self.numbers = {id(value): number for number, value in enumerate(self.seen)}

    def write(self, value: Any, depth: int = 0) -> Any:
        """The text of a value."""
        kind = type(value)
        if kind is str or kind is bool or value is None:
            return value
        if kind is int:
            return value if -_INTEGER < value < _INTEGER else {"int": hex(value)}
        if kind is float:
            return value if value == value else {"nan": value is math.nan}
        if depth > DEPTH:
            return {"table": self._table(value)}
        if kind is list:
            again = self._met(value)
            return again or [self.write(item, depth + 1) for item in value]
        if kind is tuple:
            return {"tuple": [self.write(item, depth + 1) for item in value]}
        if kind is dict:
            return self._met(value) or {"dict": self._pairs(value, depth)}
        own = _WRITERS.get(kind) or _late(kind)
        if own:
            return own(self, value, depth)
        return self._other(kind, value, depth)

    def _met(self, value: Any) -> Any:
        """{"same": number} of a container that was met before."""
        number = self.numbers.get(id(value))
        if number is not None:
            return {"same": number}
        self.numbers[id(value)] = len(self.seen)
        self.seen.append(value)
        return None

    def _pairs(self, value: Any, depth: int) -> list[Any]:
        return [[self.write(key, depth + 1), self.write(item, depth + 1)] for key, item in dict.items(value)]

    def _items(self, values: Iterable[Any], depth: int) -> list[Any]:
        return [self.write(item, depth + 1) for item in values]

    def _other(self, kind: Any, value: Any, depth: int) -> Any:
        if str(getattr(kind, "__module__", "")).partition(".")[0] == "numpy":
            found = _numpy(self, kind, value, depth)
            if found is not None:
                return found
        if self.live and isinstance(value, self.live):
            return self.hold(value)
        fields = getattr(kind, "_fields", None)
        if issubclass(kind, tuple) and isinstance(fields, tuple) and kind.__base__ is tuple:
            return {"named": [kind.__name__, list(fields), self._items(tuple.__iter__(value), depth)]}
        base: Any = next((base for base in kind.__mro__ if base in _BASES), None)
        if base is not None:
            return {"sub": [self.hold(value), self._as(base, value, depth)]}
        if isinstance(value, type):
            name = value.__name__
            known: Any = builtins.__dict__.get(name)
            if known is value and _is_type(known):
                return {"type": name}
        return self.hold(value)

    def _as(self, base: type, value: Any, depth: int) -> Any:
        if base in (list, set, frozenset, tuple, collections.deque):
            return self.write(base(base.__iter__(value)), depth + 1)
        if base is dict:
            return self.write(dict(dict.items(value)), depth + 1)
        if base is collections.OrderedDict:
            return self.write(collections.OrderedDict(dict.items(value)), depth + 1)
        if base is collections.Counter:
            return self.write(collections.Counter(dict(dict.items(value))), depth + 1)
        if base is collections.defaultdict:
            return self.write(collections.defaultdict(value.default_factory, dict.items(value)), depth + 1)
        if base is str:
            return self.write(str.__str__(value), depth + 1)
        if base is int:
            return self.write(int.__int__(value), depth + 1)
        if base is float:
            return self.write(float.__float__(value), depth + 1)
        if base is bytes:
            return self.write(bytes.__getitem__(value, slice(None)), depth + 1)
        return self.write(base(value), depth + 1)

    def _table(self, root: Any) -> list[Any]:
        """A value of any depth: [kind, numbers of rows...] a row, the last being the value itself."""
        rows: list[Any] = []
        done: dict[int, int] = {}
        keep: list[Any] = []
        open_: set[int] = set()
        stack: list[tuple[Any, bool]] = [(root, False)]
        while stack:
            value, ready = stack.pop()
            kind = type(value)
            name = _TABLED.get(kind)
            if id(value) in done:
                continue
            if name is None or (id(value) in self.numbers):
                done[id(value)] = len(rows)
                keep.append(value)
                rows.append(["leaf", self.write(value)])
                continue
            children = [part for pair in value.items() for part in pair] if kind is dict else list(value)
            if ready:
                done[id(value)] = len(rows)
                keep.append(value)
                rows.append([name, *(done[id(child)] for child in children)])
                continue
            if id(value) in open_:
                raise ValueError("a deep value that holds itself")
            open_.add(id(value))
            stack.append((value, True))
            stack.extend((child, False) for child in reversed(children))
            keep.append(children)
        return rows


_TABLED: dict[Any, str] = {list: "list", tuple: "tuple", dict: "dict", set: "set", frozenset: "frozenset"}
_BASES = (
    collections.Counter, collections.defaultdict, collections.OrderedDict, collections.deque, dict, list, tuple, set,
    frozenset, str, bytes, bytearray, int, float, complex,
)  # fmt: skip


def _is_type(kind: type) -> bool:
    return kind.__name__ in TYPES or issubclass(kind, BaseException)


def _numpy(writer: Writer, kind: type, value: Any, depth: int) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, (numpy.ndarray, numpy.generic)):
        return None
    plain = numpy.asarray(value)
    if plain.dtype.hasobject or plain.dtype.names:
        return {"objects": [list(plain.shape), writer._items(plain.ravel().tolist(), depth)]}
    data = plain.tobytes().hex()
    return {"numpy": [plain.dtype.str, None if isinstance(value, numpy.generic) else list(plain.shape), data]}


def _container(name: str, content: Callable[[Writer, Any, int], Any]) -> Callable[[Writer, Any, int], Any]:
    def write(writer: Writer, value: Any, depth: int) -> Any:
        return writer._met(value) or {name: content(writer, value, depth)}

    return write


def _factory(writer: Writer, value: Any, depth: int) -> Any:
    return [writer.write(value.default_factory, depth + 1), writer._pairs(value, depth)]


_WRITERS: dict[type, Callable[[Writer, Any, int], Any]] = {
    set: _container("set", lambda w, v, d: w._items(v, d)),
    collections.deque: _container("deque", lambda w, v, d: [v.maxlen, w._items(v, d)]),
    collections.OrderedDict: _container("ordered", lambda w, v, d: w._pairs(v, d)),
    collections.Counter: _container("counter", lambda w, v, d: w._pairs(v, d)),
    collections.defaultdict: _container("default", _factory),
    bytearray: _container("bytearray", lambda w, v, d: v.hex()),
    collections.ChainMap: lambda w, v, d: {"chain": w._items(v.maps, d)},
    collections.UserDict: lambda w, v, d: {"user": ["UserDict", w.write(v.data, d + 1)]},
    collections.UserList: lambda w, v, d: {"user": ["UserList", w.write(v.data, d + 1)]},
    collections.UserString: lambda w, v, d: {"user": ["UserString", w.write(v.data, d + 1)]},
    frozenset: lambda w, v, d: {"frozenset": w._items(v, d)},
    bytes: lambda w, v, d: {"bytes": v.hex()},
    memoryview: lambda w, v, d: {"memoryview": v.tobytes().hex()},
    complex: lambda w, v, d: {"complex": w._items((v.real, v.imag), d)},
    range: lambda w, v, d: {"range": w._items((v.start, v.stop, v.step), d)},
    slice: lambda w, v, d: {"slice": w._items((v.start, v.stop, v.step), d)},
    type({}.keys()): lambda w, v, d: {"keys": w._items(v, d)},
    type({}.values()): lambda w, v, d: {"values": w._items(v, d)},
    type({}.items()): lambda w, v, d: {"items": [w._items(pair, d) for pair in v]},
    types.MappingProxyType: lambda w, v, d: {"mapping": w.write(dict(v), d + 1)},
    type(...): lambda w, v, d: {"singleton": "Ellipsis"},
    type(NotImplemented): lambda w, v, d: {"singleton": "NotImplemented"},
}  # fmt: skip


def _late(kind: type) -> Any:
    """The writer for a type of a module that is imported only where somebody uses it."""
    module = str(getattr(kind, "__module__", ""))
    known = _LATE.get(module)
    return known.get(kind.__name__) if known and getattr(sys.modules.get(module), kind.__name__, None) is kind else None


_LATE: dict[str, dict[str, Callable[[Writer, Any, int], Any]]] = {
    "array": {"array": _container("array", lambda w, v, d: [v.typecode, w._items(v, d)])},
    "fractions": {"Fraction": lambda w, v, d: {"fraction": w._items((v.numerator, v.denominator), d)}},
    "decimal": {"Decimal": lambda w, v, d: {"decimal": str(v)}},
    "datetime": {
        "datetime": lambda w, v, d: {"datetime": v.isoformat()},
        "date": lambda w, v, d: {"date": v.isoformat()},
        "time": lambda w, v, d: {"time": v.isoformat()},
        "timedelta": lambda w, v, d: {"timedelta": [v.days, v.seconds, v.microseconds]},
    },
}


def _from(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


class Reader:
    """Rebuilds the values of one message.

    Args:
        release: the object that a text of the other side's `hold` stands for.
        known: containers that both sides have met already, in their order.
        sub: makes a value of a class that derives from plain data.
    """

    def __init__(
        self, release: Callable[[Any], Any], known: Iterable[Any] = (), sub: Callable[[Reader, Any], Any] | None = None
    ) -> None:
        self.release, self.sub = release, sub
        self.seen = list(known)

    def read(self, text: Any) -> Any:
        """The value; raises Closed for what no Writer writes."""
        try:
            return self._read(text)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise Closed(f"no value: {type(error).__name__}") from None

    def _read(self, text: Any) -> Any:
        kind = type(text)
        if kind is list:
            found: list[Any] = []
            self.seen.append(found)
            found.extend([self._read(item) for item in text])
            return found
        if kind is not dict:
            return text
        ((name, content),) = text.items()
        if name == "tuple":
            return tuple([self._read(item) for item in content])
        if name == "dict":
            return self._fill({}, content)
        if name == "same":
            return self.seen[content]
        own = _READERS.get(name)
        if own:
            return own(self, content)
        return self.sub(self, content) if name == "sub" and self.sub else self.release(text)

    def _fill(self, mapping: Any, pairs: Any) -> Any:
        self.seen.append(mapping)
        for key, item in pairs:
            dict.__setitem__(mapping, self._read(key), self._read(item))
        return mapping

    def _items(self, content: Any) -> list[Any]:
        return [self._read(item) for item in content]

    def refill(self, container: Any, text: Any) -> None:
        """Give a container new content, as `contents` took it."""
        if isinstance(container, dict):
            fresh = [(self._read(key), self._read(item)) for key, item in text]
            container.clear()
            container.update(fresh)
        elif isinstance(container, set):
            fresh_set = self._items(text)
            container.clear()
            container.update(fresh_set)
        elif isinstance(container, collections.deque):
            fresh_list = self._items(text)
            container.clear()
            container.extend(fresh_list)
        elif _is_unboxed(container):
            del container[:]
            container.extend(self._items(text))
        else:
            container[:] = self._items(text)

    def _table(self, rows: Any) -> Any:
        made: list[Any] = []
        for name, *numbers in rows:
            if name == "leaf":
                made.append(self._read(numbers[0]))
                continue
            children = [made[number] for number in numbers]
            if name == "dict":
                made.append(dict(zip(children[::2], children[1::2], strict=True)))
            else:
                made.append({"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[name](children))
        return made[-1]


def contents(value: Any) -> Any:
    """A copy of what a container holds, to tell later whether it changed."""
    return list(dict.items(value)) if isinstance(value, dict) else list(value)


def _is_unboxed(value: Any) -> bool:
    """Whether a container makes its items anew at each look (bytearray, array): they can't be told by identity."""
    return not isinstance(value, (list, dict, set, collections.deque))


def changed(value: Any, before: Any) -> bool:
    """Whether a container holds other objects than `before`."""
    if len(value) != len(before):
        return True
    if isinstance(value, dict):
        return any(a is not c or b is not d for (a, b), (c, d) in zip(dict.items(value), before, strict=True))
    if _is_unboxed(value):
        return list(value) != before
    return any(a is not b for a, b in zip(value, before, strict=True))


def _named(reader: Reader, content: Any) -> Any:
    name, fields, items = content
    return _named_type(str(name), tuple(map(str, fields)))(*reader._items(items))


_named_types: dict[Any, Any] = {}


def _named_type(name: str, fields: tuple[str, ...]) -> Any:
    if (name, fields) not in _named_types:
        if len(_named_types) > 500:
            _named_types.clear()
        _named_types[name, fields] = collections.namedtuple(name, fields, rename=True)  # type: ignore[misc]
    return _named_types[name, fields]


def _numpy_back(reader: Reader, content: Any) -> Any:
    import numpy

    dtype, shape, data = content
    if not _NUMPY.fullmatch(dtype):
        raise ValueError("no data type")
    flat = numpy.frombuffer(bytes.fromhex(data), numpy.dtype(dtype))
    return flat[0] if shape is None else flat.reshape(shape).copy()


def _objects_back(reader: Reader, content: Any) -> Any:
    import numpy

    shape, items = content
    flat = numpy.empty(len(items), object)
    for number, item in enumerate(items):
        flat[number] = reader._read(item)
    return flat.reshape(shape)


def _set(reader: Reader, content: Any) -> Any:
    found: set[Any] = set()
    reader.seen.append(found)
    found.update(reader._items(content))
    return found


def _deque(reader: Reader, content: Any) -> Any:
    found: collections.deque[Any] = collections.deque(maxlen=content[0])
    reader.seen.append(found)
    found.extend(reader._items(content[1]))
    return found


def _bytearray(reader: Reader, content: Any) -> Any:
    found = bytearray.fromhex(content)
    reader.seen.append(found)
    return found


def _array(reader: Reader, content: Any) -> Any:
    found = _from("array", "array")(content[0])
    reader.seen.append(found)
    found.extend(reader._items(content[1]))
    return found


def _default(reader: Reader, content: Any) -> Any:
    found: Any = collections.defaultdict(None)
    reader.seen.append(found)
    factory = reader._read(content[0])
    found.default_factory = factory
    for key, item in content[1]:
        dict.__setitem__(found, reader._read(key), reader._read(item))
    return found


def _type(reader: Reader, content: Any) -> Any:
    kind = builtins.__dict__.get(content)
    if not (isinstance(kind, type) and _is_type(kind)):
        raise ValueError("no such type")
    return kind


_USERS = {"UserDict": collections.UserDict, "UserList": collections.UserList, "UserString": collections.UserString}
_READERS: dict[str, Callable[[Reader, Any], Any]] = {
    "int": lambda r, c: int(c, 16),
    "nan": lambda r, c: math.nan if c else float("nan"),
    "table": Reader._table,
    "set": _set,
    "deque": _deque,
    "ordered": lambda r, c: _ordered(r, c),
    "counter": lambda r, c: r._fill(collections.Counter(), c),
    "default": _default,
    "bytearray": _bytearray,
    "array": _array,
    "chain": lambda r, c: collections.ChainMap(*r._items(c)),
    "user": lambda r, c: _USERS[c[0]](r._read(c[1])),
    "frozenset": lambda r, c: frozenset(r._items(c)),
    "bytes": lambda r, c: bytes.fromhex(c),
    "memoryview": lambda r, c: memoryview(bytes.fromhex(c)),
    "complex": lambda r, c: complex(*map(float, r._items(c))),
    "range": lambda r, c: range(*r._items(c)),
    "slice": lambda r, c: slice(*r._items(c)),
    "fraction": lambda r, c: _from("fractions", "Fraction")(*map(int, r._items(c))),
    "decimal": lambda r, c: _from("decimal", "Decimal")(str(c)),
    "datetime": lambda r, c: _from("datetime", "datetime").fromisoformat(c),
    "date": lambda r, c: _from("datetime", "date").fromisoformat(c),
    "time": lambda r, c: _from("datetime", "time").fromisoformat(c),
    "timedelta": lambda r, c: _from("datetime", "timedelta")(*map(int, c)),
    "keys": lambda r, c: dict.fromkeys(r._items(c)).keys(),
    "values": lambda r, c: dict(enumerate(r._items(c))).values(),
    "items": lambda r, c: dict(tuple(r._items(pair)) for pair in c).items(),
    "mapping": lambda r, c: types.MappingProxyType(r._read(c)),
    "singleton": lambda r, c: {"Ellipsis": ..., "NotImplemented": NotImplemented}[c],
    "named": _named,
    "numpy": _numpy_back,
    "objects": _objects_back,
    "type": _type,
}  # fmt: skip


def _ordered(reader: Reader, pairs: Any) -> Any:
    found: collections.OrderedDict[Any, Any] = collections.OrderedDict()
    reader.seen.append(found)
    for key, item in pairs:
        found[reader._read(key)] = reader._read(item)
    return found
