"""A node's configuration: one frozen dataclass, declared as read-only ROS parameters.

A parameter that nobody knows is refused: ROS takes a misspelt limit without a word, and the default holds.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, get_args, get_type_hints
from weakref import WeakKeyDictionary

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.context import Context
from rclpy.node import Node

from como_ros.errors import ComoError

Config = TypeVar("Config")
_known: WeakKeyDictionary[Context, set[str]] = WeakKeyDictionary()
"""Names of all nodes of a process: what its command line gives, it gives to each."""


def declare_config(node: Node, cls: type[Config]) -> Config:
    """Declare every field of `cls` as a parameter of `node` and return the filled-in instance."""
    hints = get_type_hints(cls)
    _require_known(node, [f.name for f in fields(cls)])  # type: ignore[arg-type]
    return cls(**{f.name: _declare(node, f, hints[f.name]) for f in fields(cls)})  # type: ignore[arg-type]


def _require_known(node: Node, names: list[str]) -> None:
    known = _known.setdefault(node.context, set())
    known |= {*names, *node._parameters}
    if unknown := sorted(node._parameter_overrides.keys() - known):
        raise ComoError(f"{node.get_name()}: no parameter {', '.join(unknown)}; known: {', '.join(names)}")


def _declare(node: Node, spec: Field[Any], hint: Any) -> Any:
    default = None if spec.default is MISSING else spec.default
    default = list(default) if isinstance(default, tuple) else default
    descriptor = ParameterDescriptor(read_only=True, dynamic_typing=True)
    value = node.declare_parameter(spec.name, default, descriptor).value
    try:
        return _convert(value, hint)
    except (TypeError, ValueError) as error:
        raise ComoError(
            f"{node.get_name()}: parameter {spec.name} is {value!r}, expected {_in_words(hint)}; "
            f"give it as -p {spec.name}:=VALUE"
        ) from error


def _in_words(hint: Any) -> str:
    if args := get_args(hint):
        return "a list, like ['123', '456']" if args[0] is str else "a list, like [1, 2]"
    words = {float: "a finite number", int: "a whole number", str: "a text", bool: "true or false"}
    return words[hint]


def _convert(value: Any, hint: Any) -> Any:
    if args := get_args(hint):
        if isinstance(value, str | bytes):
            raise TypeError(type(value).__name__)
        return tuple(_convert(item, args[0]) for item in value or ())
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise TypeError(type(value).__name__)
    if hint is float and not math.isfinite(value):
        raise ValueError(value)
    return value
