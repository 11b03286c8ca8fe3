"""The judge's side of a program: stand-ins for its functions, classes and objects.

What a stand-in does is asked of the program; what decides a test stays here. An object of the program equals no value
of the test, whatever its own `__eq__` says; two of its objects are equal when they are of one class and consist of
equal parts. The test's own values reach an operator of the program only where the test itself names the class, and
then what comes out is an object again, never a number.
"""

from __future__ import annotations

import builtins
import collections
import operator
import types
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from channel import Channel, Closed
from values import MODULES, Reader, Writer

_COMPARED = ("__lt__", "__le__", "__gt__", "__ge__")
_NUMBERS = ("__bool__", "__int__", "__float__", "__index__", "__complex__", "__abs__", "__neg__", "__pos__",
            "__invert__", "__round__", "__floor__", "__ceil__", "__trunc__", "__len__", "__hash__")  # fmt: skip


class Session:
    """One program as its test sees it.

    Args:
        channel: to the program's process.
        space: globals of the test; objects of its classes may be asked about by the program.
    """

    def __init__(self, channel: Channel, space: Mapping[str, Any]) -> None:
        self.channel, self.space = channel, space
        self.classes: dict[int, Any] = {}
        self.stand_ins: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self.own: list[Any] = []
        self.plan: deque[Any] = deque()
        """Calls that the program answers without being asked, as (number, args as text)."""
        self.mistaken = False
        """Whether the test made another call than was planned."""

    def names(self, wanted: list[str], plan: list[Any]) -> dict[str, Any]:
        """Stand-ins for the names that the program defines.

        Args:
            wanted: names that the test may mean.
            plan: calls that it will make first, as [name, arguments as text]: it need not wait for each of them.

        Raises:
            DiedError: the program did not run to its end.
        """
        found = self._request(["names", 0, wanted, 0, plan], wanted)
        if not isinstance(found, dict) or not found.keys() <= set(wanted):
            self.channel.closed = True  # what nobody asked for would stand before the builtins of the test
            raise Closed("no names")
        self.plan.extend((_number(found[name]), args) for name, args in plan if isinstance(found.get(name), Function))
        if len(self.plan) != sum(name in found for name, _ in plan):
            raise Mistaken
        for value in found.values():
            if isinstance(value, RemoteClass):
                type.__setattr__(value, "_named", True)
        return found

    def ask(self, what: str, number: int, args: list[Any], named: Mapping[str, Any] | None = None) -> Any:
        """What the program answers; raises what it raised, and Closed."""
        writer = Writer(self._hold)
        request = [what, number, writer.write(args), writer.write(named) if named else 0]
        if self.plan or self.mistaken:
            if self.mistaken or request != ["call", *self.plan.popleft(), 0]:
                self.mistaken = True
                raise Mistaken
            request = []
        return self._request(request, writer.seen)

    def _request(self, request: list[Any], seen: list[Any]) -> Any:
        """Send a request, or nothing where the answer is on its way already."""
        try:
            if request:
                self.channel.send(request)
            return self._hear(seen)
        except (Closed, MemoryError):  # a message that was read in part: what follows is none
            self.channel.closed = True
            raise

    def _hear(self, seen: list[Any]) -> Any:
        """The answer, with what the program asks meanwhile."""
        while True:
            reply = self.channel.receive()
            try:
                kind = reply[0]
                if kind == 0:
                    reader = Reader(self._release, seen, self.sub)
                    value = reader.read(reply[1])
                    if len(reply) > 2:
                        self._change(reader, seen, reply[2])
                    return value
                if kind == 1:
                    reader = Reader(self._release, seen, self.sub)
                    error = self._error(reader, reply)
                    if len(reply) > 4:
                        self._change(reader, seen, reply[4])
                elif kind == 2:
                    self._serve(*reply[1:])
                    continue
                elif kind == 3:
                    raise DiedError(str(reply[1])[:60])
                else:
                    raise Closed("no reply")
            except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
                raise Closed("no reply") from None
            raise error

    def _change(self, reader: Reader, seen: list[Any], changes: Any) -> None:
        """Arguments that the program changed in place."""
        for place, text in changes:
            if not 0 <= place < len(seen):
                raise ValueError("no argument")
            reader.refill(seen[place], text)

    def _error(self, reader: Reader, reply: Any) -> BaseException:
        base = builtins.__dict__.get(reply[1])
        if not (isinstance(base, type) and issubclass(base, BaseException)):
            base = RuntimeError
        args = reader.read(reply[2])
        held = self._release(reply[3]) if reply[3] else None
        if isinstance(held, BaseException):
            held.args = args if isinstance(args, tuple) else ()
            return held
        try:
            return base(*args)
        except Exception:
            return RuntimeError(f"{base.__name__} raised by the program")

    # What the program may do with objects of the test.

    def _serve(self, what: Any, number: Any, args: Any, named: Any) -> None:
        if type(number) is not int or not 0 <= number < len(self.own):
            raise ValueError("no object of the test")
        reader = Reader(self._release, sub=self.sub)
        given, keys = reader.read(args), reader.read(named)
        try:
            value = self._done(what, self.own[number], given, keys)
            reply = ["value", Writer(self._hold).write(value)]
        except Closed:
            raise
        except BaseException as error:
            base: Any = next(one for one in type(error).__mro__ if builtins.__dict__.get(one.__name__) is one)
            reply = ["error", base.__name__, Writer(self._hold).write([str(arg) for arg in error.args])]
        self.channel.send(reply)

    def _done(self, what: str, value: Any, args: list[Any], named: dict[str, Any]) -> Any:
        if what == "call":
            return value(*args, **named)
        if what in ("get", "set"):
            if not isinstance(args[0], str) or args[0].startswith("_") or not self._of_test(value):
                raise AttributeError("not for the program")
            return getattr(value, args[0]) if what == "get" else setattr(value, args[0], args[1])
        plain: dict[str, Callable[..., Any]] = {
            "iter": iter, "next": next, "len": len, "item": operator.getitem, "bool": bool, "str": str,
            "eq": operator.eq, "lt": operator.lt,
        }  # fmt: skip
        return plain[what](value, *args)

    def _of_test(self, value: Any) -> bool:
        """Whether a value is an object of a class that the test defines."""
        kind = type(value)
        functions = [one for one in kind.__dict__.values() if isinstance(one, types.FunctionType)]
        return "__module__" in kind.__dict__ and any(one.__globals__ is self.space for one in functions)

    # Objects that do not travel.

    def _hold(self, value: Any) -> Any:
        if isinstance(value, (Held, RemoteClass)):
            return {"back": type.__getattribute__(value, "_number") if isinstance(value, type) else _number(value)}
        if "_astraios" in getattr(value, "__dict__", {}):
            return {"back": _number(value)}
        name = getattr(value, "__name__", "")
        if value is not None and builtins.__dict__.get(name) is value:
            return {"builtin": name}
        if isinstance(value, types.ModuleType):
            return {"module": value.__name__}
        number = next((place for place, one in enumerate(self.own) if one is value), len(self.own))
        if number == len(self.own):
            self.own.append(value)
        iterates = hasattr(value, "__next__")
        return {"theirs": [number, str(getattr(value, "__name__", type(value).__name__)), iterates]}

    def _release(self, text: Any) -> Any:
        """The stand-in for what the program holds."""
        ((kind, content),) = text.items()
        if kind == "yours":
            return self.own[content]
        if kind == "module":
            if content not in MODULES:
                raise ValueError("no module for a test")
            return __import__(content, fromlist=["_"])
        if kind == "generator":
            return self._generator(content)
        if kind == "coroutine":
            return self._coroutine(content)
        if kind == "iterator":
            number, name = content
            steps = _Steps(self, number)
            if name == "map":
                return map(_same, steps)
            return filter(_always, steps) if name == "filter" else steps
        if kind == "function":
            return self._stand_in(content[0], Function, content[1])
        if kind == "class":
            return self._class(content)
        if kind == "object":
            number, described = content
            return self._stand_in(number, self._class(described))
        raise ValueError("no such kind")

    def sub(self, reader: Reader, content: Any) -> Any:
        """A value of a class of the program that derives from plain data: the data, with the class's methods."""
        held, base_text = content
        number, described = held["object"]
        like, base = self._class(described), reader._read(base_text)
        key = type(base)
        if key not in like._plain:
            like._plain[key] = type(like.__name__, (_Sub, key), {})
        kind = like._plain[key]
        value = kind(base.default_factory, base) if key is collections.defaultdict else kind(base)
        value._astraios = (self, number)
        return value

    def _stand_in(self, number: Any, kind: Any, name: Any = None) -> Any:
        if type(number) is not int:
            raise ValueError("no number")
        known = self.stand_ins.get(number)
        if known is not None and type(known) is kind:
            return known
        value = kind.__new__(kind) if issubclass(kind, BaseException) else object.__new__(kind)
        object.__setattr__(value, "_astraios", (self, number))
        if name is not None:
            object.__setattr__(value, "__name__", str(name))
        self.stand_ins[number] = value
        return value

    def _class(self, described: Any) -> Any:
        number = described[0]
        if number in self.classes:
            return self.classes[number]
        _, name, bases, error, special, own_equality, hashable = described
        parents = [self._class(base) for base in bases]
        base = builtins.__dict__.get(error) if error else None
        if base is not None and not (isinstance(base, type) and issubclass(base, BaseException)):
            raise ValueError("no exception")
        body: dict[str, Any] = {name: _SPECIAL[name] for name in special if name in _SPECIAL}
        body.update(_session=self, _number=number, _own_equality=bool(own_equality), _plain={})
        body["__eq__"], body["__hash__"] = _equal, _hash if hashable else None
        mixin = (HeldError, base) if base is not None else (Held,)
        try:
            made = RemoteClass(str(name), tuple(parents) if parents else mixin, body)
        except TypeError:  # an order of base classes that Python refuses here
            made = RemoteClass(str(name), mixin, body)
        self.classes[number] = made
        return made

    def _generator(self, number: int) -> Any:
        step = self.ask("next", number, [])
        while step is not None:
            sent = yield _one(step)
            step = self.ask("next", number, []) if sent is None else self.ask("send", number, [sent])

    async def _coroutine(self, number: int) -> Any:
        return self.ask("wait", number, [])


class Mistaken(BaseException):
    """The test made another call than was planned: the program has to be run again, without a plan."""


class DiedError(Exception):
    """The program did not run to its end; holds the kind of its exception."""


def _same(value: Any) -> Any:
    return value


def _always(value: Any) -> bool:
    return True


def _one(step: Any) -> Any:
    if type(step) is not tuple or len(step) != 1:
        raise Closed("no step")
    return step[0]


def _number(value: Any) -> int:
    return object.__getattribute__(value, "_astraios")[1]  # type: ignore[no-any-return]


def _session(value: Any) -> Session:
    return object.__getattribute__(value, "_astraios")[0]  # type: ignore[no-any-return]


class _Steps:
    """An iterator of the program."""

    def __init__(self, session: Session, number: int) -> None:
        self._session, self._number = session, number

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        step = self._session.ask("next", self._number, [])
        if step is None:
            raise StopIteration
        return _one(step)


class RemoteClass(type):
    """Stands for a class of the program: called, it makes an object there."""

    _session: Session
    _number: int
    _named = False
    _own_equality = False
    _plain: dict[Any, Any]

    def __call__(cls, *args: Any, **named: Any) -> Any:
        return cls._session.ask("call", cls._number, list(args), named)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls._session.ask("get", cls._number, [name])

    def __iter__(cls) -> Any:
        return iter(cls._session.ask("special", cls._number, ["__iter__"]))

    def __len__(cls) -> Any:
        return cls._session.ask("special", cls._number, ["__len__"])

    def __bool__(cls) -> bool:
        return True

    def __getitem__(cls, key: Any) -> Any:
        return cls._session.ask("special", cls._number, ["__getitem__", key])


class Held:
    """Stands for an object of the program."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _session(self).ask("get", _number(self), [name])

    def __setattr__(self, name: str, value: Any) -> None:
        _session(self).ask("set", _number(self), [name, value])

    def __delattr__(self, name: str) -> None:
        _session(self).ask("remove", _number(self), [name])

    def __str__(self) -> str:
        return str(_session(self).ask("text", _number(self), ["str"]))

    def __repr__(self) -> str:
        return str(_session(self).ask("text", _number(self), ["repr"]))

    def __reduce__(self) -> Any:
        raise TypeError("an object of the program can't be copied outside of it")


class HeldError(Held):
    """Stands for an exception of the program."""

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __str__(self) -> str:
        return str(_session(self).ask("text", _number(self), ["str"]))


class _Sub:
    """Plain data of a class of the program: compared here, its own methods asked for there."""

    _astraios: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_astraios":
            raise AttributeError(name)
        return _session(self).ask("get", _number(self), [name])


class Function(Held):
    """Stands for a function of the program."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        session, number = object.__getattribute__(self, "_astraios")
        return session.ask("call", number, list(args), named)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)


def _equal(self: Any, other: Any) -> Any:
    """Whether a stand-in equals a value, decided here."""
    if self is other:
        return True
    if not isinstance(other, Held):
        data = _session(self).ask("base", _number(self), [])
        return data[0] == other if data else NotImplemented
    if type(self) is not type(other):
        return False
    if not getattr(type(self), "_own_equality", False):
        return False
    session = _session(self)
    left, right = (session.ask("base", _number(one), []) for one in (self, other))
    if left or right:
        return bool(left == right)
    return bool(session.ask("state", _number(self), []) == session.ask("state", _number(other), []))


def _hash(self: Any) -> int:
    return hash(type(self).__name__) if type(self)._own_equality else object.__hash__(self)


def _ask_special(name: str) -> Callable[..., Any]:
    def special(self: Any, *args: Any) -> Any:
        if name in _NUMBERS and "_from_test" in object.__getattribute__(self, "__dict__"):
            raise TypeError("an operator of the program had a value of the test: its result is no number")
        return _session(self).ask("special", _number(self), [name, *args])

    special.__name__ = name
    return special


def _binary(name: str, reflected: bool) -> Callable[..., Any]:
    def operate(self: Any, other: Any) -> Any:
        theirs = isinstance(other, Held)
        if not theirs and (name in _COMPARED or not type(self)._named):
            return NotImplemented
        left, right = (other, self) if reflected else (self, other)
        result = _session(self).ask("binary", 0, [name, left, right])
        if theirs:
            return result
        if not isinstance(result, Held) or isinstance(result, Function):
            raise TypeError("an operator of the program had a value of the test: its result is no plain value")
        object.__setattr__(result, "_from_test", True)
        return result

    return operate


def _contains(self: Any, item: Any) -> bool:
    if isinstance(item, Held) or type(self)._named:
        return bool(_session(self).ask("special", _number(self), ["__contains__", item]))
    return any(item is one or item == one for one in self)


def _iterate(self: Any) -> Any:
    found = _session(self).ask("special", _number(self), ["__iter__"])
    return found if found is self or hasattr(found, "__next__") else iter(found)


def _call(self: Any, *args: Any, **named: Any) -> Any:
    return _session(self).ask("call", _number(self), list(args), named)


def _wait(self: Any) -> Any:
    yield from ()
    return _session(self).ask("wait", _number(self), [])


_OPERATORS = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"),
)
_ASKED = (
    *("len", "next", "getitem", "setitem", "delitem", "bool", "int", "float", "index", "complex", "abs", "neg", "pos"),
    *("invert", "round", "floor", "ceil", "trunc", "enter", "exit", "reversed", "format", "divmod", "length_hint"),
)
_SPECIAL: dict[str, Any] = {
    **{f"__{name}__": _ask_special(f"__{name}__") for name in _ASKED},
    **{f"__{name}__": _binary(f"__{name}__", False) for name in _OPERATORS},
    **{f"__r{name}__": _binary(f"__{name}__", True) for name in _OPERATORS},
    **{name: _binary(name, False) for name in _COMPARED},
    "__iter__": _iterate,
    "__contains__": _contains,
    "__call__": _call,
    "__await__": _wait,
}  # fmt: skip
