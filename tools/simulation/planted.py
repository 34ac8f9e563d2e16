"""Bugs that are planted on purpose, to see whether the simulator finds them.

A patch replaces a piece of a function's source text, in memory. What it is to replace must stand
there exactly once: so a catalogue of bugs can't fall behind the code without somebody's noticing.

    with planted(bug):
        run_seed(seed)
"""

import __future__

import ast
import inspect
import linecache
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple, TypeAlias

Owner: TypeAlias = type | ModuleType


class PlantingError(ValueError):
    """A patch does not fit the code."""


class Patch(NamedTuple):
    """A piece of the source text of `owner`'s function, and what is to stand there instead.

    The text is that of the whole definition with its decorators, moved to the left margin. A module
    that has imported a function by name has it for itself: it is an owner of its own.
    """

    owner: Owner
    function: str
    old: str
    new: str


class PlantedBug(NamedTuple):
    """A mistake that a programmer could make."""

    name: str
    what: str  # what is wrong, and what harm comes of it
    patches: tuple[Patch, ...]


@contextmanager
def planted(bug: PlantedBug) -> Iterator[None]:
    """Have the bug in the code meanwhile; objects that exist already have it, too.

    Raises PlantingError, and changes nothing, when one of its patches does not fit.
    """
    places = dict.fromkeys((patch.owner, patch.function) for patch in bug.patches)
    originals = [(owner, name, _attribute(owner, name)) for owner, name in places]
    patched = [_Planting(bug, owner, name, original) for owner, name, original in originals]
    try:
        for planting in patched:
            planting.plant()
        yield
    finally:
        for planting in patched:
            planting.pull_out()


class _Planting:
    """One function, method or property, and its patched twin."""

    def __init__(self, bug: PlantedBug, owner: Owner, name: str, original: Any) -> None:
        self._owner = owner
        self._name = name
        self._original = original
        self._place = f"{owner.__name__}.{name}"
        self._file_name = f"<{bug.name}: {self._place}>"
        function = _function(original, self._place)
        text = _source(function, self._place)
        for patch in bug.patches:
            if (patch.owner, patch.function) == (owner, name):
                text = self._replaced(text, patch)
        self._text = text
        self._twin = self._made(function)

    def plant(self) -> None:
        """Put the twin in the original's place; a traceback shows its text."""
        lines = self._text.splitlines(keepends=True)
        linecache.cache[self._file_name] = len(self._text), None, lines, self._file_name
        setattr(self._owner, self._name, self._twin)

    def pull_out(self) -> None:
        """Put the original back."""
        setattr(self._owner, self._name, self._original)
        linecache.cache.pop(self._file_name, None)

    def _replaced(self, text: str, patch: Patch) -> str:
        if patch.new == patch.old:
            raise PlantingError(f"{self._place} stays as it is")
        count = text.count(patch.old)
        if count != 1:
            raise PlantingError(f"{self._place} has {count} times, not once: {patch.old!r}")
        return text.replace(patch.old, patch.new)

    def _made(self, function: FunctionType) -> Any:
        """What the text defines, among the globals and closed-over names of the original."""
        cells = function.__closure__ or ()
        closed_over = [cell.cell_contents for cell in cells]
        found: dict[str, Any] = {}
        exec(self._compiled(function), function.__globals__, found)
        return found["define"](*closed_over)

    def _compiled(self, function: FunctionType) -> CodeType:
        """The code of `define`, whose arguments are the names that the function closes over."""
        names = function.__code__.co_freevars
        module = ast.parse(f"def define({', '.join(names)}):\n    return {function.__name__}")
        flags = function.__code__.co_flags & __future__.annotations.compiler_flag
        try:
            (definition,) = ast.parse(self._text).body
            (define,) = module.body
            assert isinstance(define, ast.FunctionDef)
            define.body.insert(0, definition)
            code: CodeType = compile(module, self._file_name, "exec", flags, dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise PlantingError(f"{self._place} does not compile: {error}") from error
        return code


def _attribute(owner: Owner, name: str) -> Any:
    """What stands under this name in the owner itself, and not in one that it inherits from."""
    try:
        return vars(owner)[name]
    except KeyError:
        raise PlantingError(f"{owner.__name__} has no {name} of its own") from None


def _function(attribute: Any, place: str) -> FunctionType:
    """The function that the source text of an attribute defines."""
    if isinstance(attribute, property):
        attribute = attribute.fget
    elif isinstance(attribute, (staticmethod, classmethod)):
        attribute = attribute.__func__
    function = inspect.unwrap(attribute) if callable(attribute) else attribute
    if not isinstance(function, FunctionType):
        raise PlantingError(f"{place} is no function")
    return function


def _source(function: FunctionType, place: str) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise PlantingError(f"{place} has no source text: {error}") from error
