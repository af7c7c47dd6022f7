"""A node's configuration: one frozen dataclass, declared as read-only ROS parameters."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, get_args, get_type_hints

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from como_ros.errors import ComoError

Config = TypeVar("Config")


def declare_config(node: Node, cls: type[Config]) -> Config:
    """Declare every field of `cls` as a parameter of `node` and return the filled-in instance."""
    hints = get_type_hints(cls)
    return cls(**{f.name: _declare(node, f, hints[f.name]) for f in fields(cls)})  # type: ignore[arg-type]


def _declare(node: Node, spec: Field[Any], hint: Any) -> Any:
    default = None if spec.default is MISSING else spec.default
    default = list(default) if isinstance(default, tuple) else default
    descriptor = ParameterDescriptor(read_only=True, dynamic_typing=True)
    value = node.declare_parameter(spec.name, default, descriptor).value
    try:
        return _convert(value, hint)
    except (TypeError, ValueError) as error:
        wanted = getattr(hint, "__name__", str(hint))
        raise ComoError(
            f"{node.get_name()}: parameter {spec.name} is {value!r}, expected {wanted}; "
            f"give it as -p {spec.name}:=VALUE"
        ) from error


def _convert(value: Any, hint: Any) -> Any:
    if args := get_args(hint):
        return tuple(_convert(item, args[0]) for item in value or ())
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise TypeError(type(value).__name__)
    return value
