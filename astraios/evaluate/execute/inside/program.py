"""A program in its own process: runs, then does what the judge asks, with plain data back and forth.

Nothing here decides anything. A program that changes this module speaks for itself in another way, no more: what
counts is whether the values that the judge rebuilds are right.
"""

from __future__ import annotations

import builtins
import marshal
import operator
import types
from typing import Any

from channel import Channel, Closed
from values import Reader, Writer, changed, contents

BINARY = {
    f"__{name}__": getattr(operator, f"__{name}__")
    for name in (
        *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"),
        *("lt", "le", "gt", "ge"),
    )
}
"""Operators of two operands that an object of the program may have."""
UNARY = tuple(
    f"__{name}__"
    for name in (
        *("call", "len", "iter", "next", "getitem", "setitem", "delitem", "contains", "bool", "int", "float", "index"),
        *("complex", "abs", "neg", "pos", "invert", "round", "floor", "ceil", "trunc", "enter", "exit", "reversed"),
        *("format", "await", "missing", "divmod", "length_hint", "bytes"),
    )
)
"""Further special methods of an object that the judge may call."""


def main(descriptor: int, request: dict[str, Any], space: dict[str, Any]) -> None:
    """Run a program, then answer until the channel closes.

    Args:
        descriptor: of the socket to the judge.
        request: the program's text (`code`), the same compiled where the judge could do that (`compiled`), what goes
            before it (`preamble`), and the part of that which has not run yet (`late`).
        space: what the preamble has made; not copied, which would touch each of its objects and copy its page.
    """
    channel = Channel(descriptor)
    try:
        ready = request["compiled"]
        code = marshal.loads(bytes.fromhex(ready)) if ready else _compiled(request["code"], request["preamble"])
        if request["late"]:
            exec(request["late"], space)
        exec(code, space)
    except BaseException as error:
        kind = type(error)
        while kind.__name__ not in builtins.__dict__ and kind.__base__:
            kind = kind.__base__
        channel.receive()
        channel.send([3, kind.__name__])
        return
    _Side(channel, space).serve()


def _compiled(text: str, preamble: str) -> types.CodeType:
    # The judged text is preamble + program: only the joint text shows a misplaced __future__ import.
    joint = preamble + "\n" + text if "__future__" in text and preamble else text
    return compile(joint, "<program>", "exec")


class _Mine:
    """Stands for an object of the test: a function that it passed, an iterator, an object of a class of its own."""

    def __init__(self, side: _Side, number: int, name: str) -> None:
        object.__setattr__(self, "_side", side)
        object.__setattr__(self, "_number", number)
        self.__dict__["__name__"] = name

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._side.ask("call", self._number, list(args), named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._side.ask("get", self._number, [name], {})

    def __setattr__(self, name: str, value: Any) -> None:
        self._side.ask("set", self._number, [name, value], {})

    def __iter__(self) -> Any:
        return self._side.ask("iter", self._number, [], {})

    def __next__(self) -> Any:
        return self._side.ask("next", self._number, [], {})

    def __len__(self) -> int:
        return int(self._side.ask("len", self._number, [], {}))

    def __getitem__(self, key: Any) -> Any:
        return self._side.ask("item", self._number, [key], {})

    def __bool__(self) -> bool:
        return bool(self._side.ask("bool", self._number, [], {}))

    def __str__(self) -> str:
        return str(self._side.ask("str", self._number, [], {}))

    def __eq__(self, other: object) -> bool:
        return self is other or bool(self._side.ask("eq", self._number, [other], {}))

    def __lt__(self, other: object) -> bool:
        return bool(self._side.ask("lt", self._number, [other], {}))

    __hash__ = object.__hash__
    __repr__ = __str__


class _Side:
    """Objects that the judge knows by number, and the traffic about them."""

    def __init__(self, channel: Channel, space: dict[str, Any]) -> None:
        self.channel, self.space = channel, space
        self.objects: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.mine: dict[int, Any] = {}
        self.told: dict[type, int] = {}
        self.live: tuple[type, ...] = ()

    def serve(self) -> None:
        """Answer until the channel closes."""
        while True:
            request = self.channel.receive()
            self._answer(request[:4])
            if len(request) > 4:
                self._planned(request[4])

    def ask(self, what: str, number: int, args: list[Any], named: dict[str, Any]) -> Any:
        """What an object of the test does or holds."""
        writer = Writer(self._hold, live=self.live)
        self.channel.send([2, what, number, writer.write(args), writer.write(named)])
        while (reply := self.channel.receive())[0] not in ("value", "error"):
            self._answer(reply)
        if reply[0] == "value":
            return Reader(self._release).read(reply[1])
        kind = getattr(builtins, reply[1], RuntimeError)
        raise kind(*Reader(self._release).read(reply[2]))

    def _answer(self, request: Any) -> None:
        what, number, args, named = request
        reader = Reader(self._release)
        given = reader.read(args)
        keys = reader.read(named) if named else {}
        before = [(container, contents(container)) for container in reader.seen]
        try:
            result = getattr(self, what)(number, *given, **keys)
            writer = Writer(self._hold, reader.seen, self.live)
            reply = [0, writer.write(result)]
        except Closed:
            raise
        except BaseException as error:
            writer = Writer(self._hold, reader.seen, self.live)
            reply = [1, *self._error(error, writer)]
        changes = [
            [place, self._refill(writer, container)]
            for place, (container, earlier) in enumerate(before)
            if changed(container, earlier)
        ]
        if changes:
            reply.append(changes)
        self.channel.send(reply)

    @staticmethod
    def _refill(writer: Writer, container: Any) -> Any:
        if isinstance(container, dict):
            return writer._pairs(container, 0)
        return [writer.write(item) for item in container]

    def _error(self, error: BaseException, writer: Writer) -> list[Any]:
        kind = type(error)
        base = next(one for one in kind.__mro__ if builtins.__dict__.get(one.__name__) is one)
        try:
            args = writer.write(tuple(error.args))
        except BaseException:
            args = {"tuple": []}
        held = None if base is kind else self._hold(error)
        return [base.__name__, args, held]

    # What the judge may ask for.

    def _planned(self, calls: list[list[Any]]) -> None:
        """Calls whose arguments are known beforehand, answered one after the other without being asked."""
        for name, args in calls:
            if name in self.space:
                self._answer(["call", self._number(self.space[name]), args, 0])

    def names(self, number: int, *names: str) -> dict[str, Any]:
        """Those of the names that the program defines."""
        found = {name: self.space[name] for name in names if name in self.space}
        self.live = tuple(value for value in found.values() if isinstance(value, type) and _own(value))
        return found

    def call(self, number: int, *args: Any, **named: Any) -> Any:
        """Call an object."""
        return self.objects[number](*args, **named)

    def get(self, number: int, name: str) -> Any:
        """Attribute of an object."""
        return getattr(self.objects[number], name)

    def set(self, number: int, name: str, value: Any) -> None:
        """Set an attribute."""
        setattr(self.objects[number], name, value)

    def remove(self, number: int, name: str) -> None:
        """Delete an attribute."""
        delattr(self.objects[number], name)

    def special(self, number: int, name: str, *args: Any) -> Any:
        """Call a special method."""
        return getattr(type(self.objects[number]), name)(self.objects[number], *args)

    def binary(self, number: int, name: str, left: Any, right: Any) -> Any:
        """Apply an operator."""
        return BINARY[name](left, right)

    def text(self, number: int, how: str) -> str:
        """str or repr of an object."""
        return str(self.objects[number]) if how == "str" else repr(self.objects[number])

    def next(self, number: int) -> Any:
        """The next item, in a tuple; None at the end."""
        for item in self.objects[number]:
            return (item,)
        return None

    def send(self, number: int, value: Any) -> Any:
        """Send a value into a generator: what it yields, in a tuple; None at the end."""
        try:
            return (self.objects[number].send(value),)
        except StopIteration:
            return None

    def wait(self, number: int) -> Any:
        """The result of a coroutine."""
        import asyncio

        return asyncio.run(self.objects[number])

    def state(self, number: int) -> Any:
        """What an object consists of, for a comparison on the judge's side."""
        value = self.objects[number]
        fields = getattr(type(value), "__dataclass_fields__", None)
        if isinstance(fields, dict):
            return {
                name: getattr(value, name) for name, field in fields.items() if field.compare and hasattr(value, name)
            }
        found = dict(getattr(value, "__dict__", {}))
        for kind in type(value).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if hasattr(value, name):
                    found[name] = getattr(value, name)
        return found

    def base(self, number: int) -> Any:
        """The plain data that an object derives from, in a list."""
        value = self.objects[number]
        kinds: tuple[Any, ...] = (dict, list, tuple, set, frozenset, str, bytes, int, float, complex)
        for base in kinds:
            if isinstance(value, base):
                if base is dict:
                    return [dict(dict.items(value))]
                return [base(base.__iter__(value)) if base in (list, tuple, set, frozenset) else base(value)]
        return []

    # Objects that stay here.

    def _release(self, text: Any) -> Any:
        ((kind, content),) = text.items()
        if kind == "back":
            return self.objects[content]
        if kind == "builtin":
            return getattr(builtins, content)
        if kind == "module":
            return __import__(content)
        number, name, iterates = content
        if number not in self.mine:
            stand_in: Any = _Mine(self, number, name)
            self.mine[number] = self._generate(stand_in) if iterates else stand_in
        return self.mine[number]

    @staticmethod
    def _generate(stand_in: Any) -> Any:
        while True:
            try:
                item = next(stand_in)
            except StopIteration:
                return
            yield item

    def _number(self, value: Any) -> int:
        number = self.numbers.get(id(value))
        if number is None:
            number = self.numbers[id(value)] = len(self.objects)
            self.objects.append(value)
        return number

    def _hold(self, value: Any) -> Any:
        kind = type(value)
        if kind is _Mine:
            return {"yours": object.__getattribute__(value, "_number")}
        number = self._number(value)
        if isinstance(value, types.GeneratorType):
            return {"generator": number}
        if isinstance(value, types.CoroutineType):
            return {"coroutine": number}
        if isinstance(value, types.ModuleType):
            return {"module": value.__name__}
        if isinstance(value, type):
            return {"class": self._describe(value)}
        if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
            return {"function": [number, getattr(value, "__name__", "function")]}
        if hasattr(kind, "__next__") and not _own(kind):
            return {"iterator": [number, kind.__name__]}
        return {"object": [number, self._describe(kind)]}

    def _describe(self, kind: type) -> list[Any]:
        """Number of a class, and at the first time what the judge needs to stand in for it."""
        if kind in self.told:
            return [self.told[kind]]
        number = self.told[kind] = self._number(kind)
        bases = [self._describe(base) for base in kind.__bases__ if base is not object and not _builtin(base)]
        error = next((one.__name__ for one in kind.__mro__ if _builtin(one) and issubclass(one, BaseException)), None)
        special = [
            name
            for name in (*BINARY, *(f"__r{name[2:]}" for name in BINARY if name not in _ORDER), *UNARY)
            if getattr(kind, name, None) is not getattr(object, name, None)
        ]
        own_equality = kind.__eq__ is not object.__eq__
        return [number, kind.__name__, bases, error, special, own_equality, kind.__hash__ is not None]


_MADE_AT_RUN_TIME = 1 << 9
_ORDER = ("__lt__", "__le__", "__gt__", "__ge__")


def _builtin(kind: type) -> bool:
    return builtins.__dict__.get(kind.__name__) is kind


def _own(kind: type) -> bool:
    """Whether a class is the program's own."""
    return bool(kind.__flags__ & _MADE_AT_RUN_TIME) and getattr(kind, "__module__", "builtins") == "builtins"
