"""ROS message objects without ROS: empty messages to fill, CDR bytes in and out.

The types are those of ROS 2 Kilted, so what is serialised here is read by rclpy and the other way round; only
the bytes between fields, which nobody reads, may differ.
"""

from __future__ import annotations

import struct
from functools import cache, lru_cache
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

from como_ros.errors import ComoError

TYPES = get_typestore(Stores.ROS2_KILTED)
_SCALARS: dict[str, Any] = {"string": "", "bool": False, "float32": 0.0, "float64": 0.0}


def message(type_name: str, **fields: Any) -> Any:
    """An empty message of a type such as `sensor_msgs/msg/Image`, with `fields` set."""
    values = {name: _empty(*node) for name, node in _definition(type_name)}
    if unknown := sorted(set(fields) - set(values)):
        raise ComoError(f"{type_name} has no fields {unknown}; it has {list(values)}")
    return TYPES.types[type_name](**(values | fields))


def serialize(msg: Any) -> bytes:
    """CDR bytes, as on the wire."""
    return bytes(TYPES.serialize_cdr(msg, msg.__msgtype__))


def deserialize(cdr: bytes | memoryview, type_name: str) -> Any:
    """The message; its arrays are views of `cdr`."""
    try:
        return TYPES.deserialize_cdr(cdr, type_name)
    except (SerdeError, ValueError, struct.error) as error:
        raise ComoError(f"{len(cdr)} bytes are no {type_name}: {error}") from error


@lru_cache(maxsize=256)
def type_fault(type_name: str, definition: str, digest: str) -> str:
    """In which way a bag's own account of a type, as text and as a hash, differs from ours; empty if not."""
    ours = TYPES.hash_rihs01(type_name)
    if digest and digest != ours:
        return f"holds another version of {type_name}: its hash is {digest[:20]}, ours is {ours[:20]}"
    if not definition or definition == TYPES.generate_msgdef(type_name, ros_version=2)[0]:
        return ""
    try:
        theirs = _hash_of(type_name, definition)
    except (TypesysError, KeyError, RecursionError, ValueError) as error:
        return f"defines {type_name} in a way that cannot be read ({str(error).splitlines()[0]})"
    return "" if theirs == ours else f"defines another version of {type_name} than ours"


def _hash_of(type_name: str, definition: str) -> str:
    is_idl = definition.startswith("=" * 80 + "\nIDL: ")
    types = get_types_from_idl(definition) if is_idl else get_types_from_msg(definition, type_name)
    store = get_typestore(Stores.EMPTY)
    store.register(types)
    return str(store.hash_rihs01(type_name))


@cache
def _definition(type_name: str) -> list[tuple[str, tuple[int, Any]]]:
    if type_name not in TYPES.fielddefs:
        raise ComoError(f"message type {type_name!r} is unknown; name it as package/msg/Name")
    return [(name, (node[0], node[1])) for name, node in TYPES.fielddefs[type_name][1]]


def _empty(kind: int, detail: Any) -> Any:
    """The default of one field: a scalar, a nested message, a fixed array or an empty sequence."""
    if kind == Nodetype.NAME:
        return message(detail)
    if kind == Nodetype.BASE:
        return _SCALARS.get(detail[0], 0)
    (item_kind, item), length = detail
    if item_kind == Nodetype.BASE and item[0] != "string":
        return np.zeros(length if kind == Nodetype.ARRAY else 0, item[0])
    return [_empty(item_kind, item) for _ in range(length if kind == Nodetype.ARRAY else 0)]
