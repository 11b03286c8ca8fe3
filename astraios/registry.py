"""Finds named things: one small file each in a package of ours, or an entry point of somebody else's.

A tuning method, task, law, link, chart or importer is registered by existing: every module-level instance of the
registry's class is found under its `name`. There is no list to edit.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Generic, TypeVar, cast

from astraios.errors import UsageError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """The instances of `kind` found in the modules of `package` and in the entry points `group`.

    Args:
        kind: class (or protocol base) whose module-level instances are registered.
        package: dotted name of the package to look in.
        what: how an error calls one of them, for instance "tuning method".
        group: entry-point group; each entry point names a module that holds instances too.
    """

    def __init__(self, kind: type[T], package: str, what: str, group: str | None = None) -> None:
        self.kind, self.package, self.what, self.group = kind, package, what, group

    @cached_property
    def _found(self) -> dict[str, T]:
        package = importlib.import_module(self.package)
        modules = [
            importlib.import_module(f"{self.package}.{info.name}")
            for info in pkgutil.iter_modules(package.__path__)
            if not info.name.startswith("_")
        ]
        if self.group:
            modules += [_load(point) for point in entry_points(group=self.group)]
        found: dict[str, T] = {}
        for module in modules:
            for thing in self._instances(module):
                found.setdefault(thing.name, thing)  # type: ignore[attr-defined]
        return found

    def _instances(self, module: ModuleType) -> Iterator[T]:
        for value in vars(module).values():
            for thing in value if isinstance(value, tuple) else (value,):
                if isinstance(thing, self.kind):
                    yield thing

    def names(self) -> list[str]:
        """All names, in alphabetical order."""
        return sorted(self._found)

    def __iter__(self) -> Iterator[T]:
        return iter(self._found[name] for name in self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def get(self, name: str) -> T:
        """The one called `name`.

        Raises:
            UsageError: there is none; the line names the nearest.
        """
        try:
            return self._found[name]
        except KeyError:
            raise UsageError(f"unknown {self.what} {name!r}: {did_you_mean(name, self._found)}") from None


def _load(point: EntryPoint) -> ModuleType:
    """The module of somebody else's that an entry point names; what goes wrong in it is one line."""
    try:
        found = point.load()
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        package = point.dist.name if point.dist else point.value
        raise UsageError(
            f"the package {package} adds {point.value} to astraios ({point.group}), which can't be imported ({said}): "
            "repair or uninstall it"
        ) from error
    return cast(ModuleType, found)
