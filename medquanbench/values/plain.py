"""Values to plain JSON and back; the types say how."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from typing import Any

from medquanbench.values.recipe import Recipe


def to_plain(value: Any) -> Any:
    """A value as what JSON can hold: dataclasses become objects, tuples lists, recipes their text."""
    if isinstance(value, Recipe):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def from_plain(kind: Any, plain: Any) -> Any:
    """The value of a type from its plain form.

    Raises:
        ValueError: the plain form lacks a field, has an unknown one, or holds something of another type.
        RequestError: the text of a recipe does not parse.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        _expect(list, plain)
        inner = [arguments[0]] * len(plain) if arguments[-1] is Ellipsis else arguments
        return tuple(from_plain(item_kind, item) for item_kind, item in zip(inner, plain, strict=True))
    if origin in (typing.Union, types.UnionType):
        rest = [a for a in arguments if a is not type(None)]
        return None if plain is None else from_plain(rest[0], plain)
    if kind is Recipe:
        return Recipe.parse(_expect(str, plain))
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = {field.name for field in dataclasses.fields(kind)}
        if not isinstance(plain, dict) or set(plain) != names:
            raise ValueError(f"{kind.__name__} needs the fields {sorted(names)}; there is {plain!r:.100}")
        return kind(**{name: from_plain(hints[name], plain[name]) for name in names})
    if issubclass(kind, Enum):
        return kind(plain)
    if kind is float and isinstance(plain, int) and not isinstance(plain, bool):
        return float(plain)
    return _expect(kind, plain)


def _expect(kind: type, plain: Any) -> Any:
    if type(plain) is not kind:
        raise ValueError(f"a value of type {kind.__name__} was expected; there is {plain!r:.100}")
    return plain
