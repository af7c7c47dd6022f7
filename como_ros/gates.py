"""Rows of a benchmark that hold one figure against one gate."""

from __future__ import annotations

from typing import Any


def at_most(row_id: str, what: str, value: float, gate: float) -> dict[str, Any]:
    return {"id": row_id, "what": what, "value": value, "gate": gate, "ok": value <= gate}


def at_least(row_id: str, what: str, value: float, gate: float) -> dict[str, Any]:
    return {"id": row_id, "what": what, "value": value, "gate": gate, "ok": value >= gate}
