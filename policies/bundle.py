"""What the robot loads: a folder with a manifest and three ONNX graphs, verified before anything moves.

A missing, truncated or altered file, or a bundle made for another contract, is refused with the reason.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policies.spaces import Contract, ContractError, Normalizer

MANIFEST = "manifest.json"
ENCODER, INTENT, EXPERT = "encoder.onnx", "intent.onnx", "expert.onnx"
GRAPHS = (ENCODER, INTENT, EXPERT)
VERSION = 1
KINDS: dict[str, type | tuple[type, ...]] = {
    "version": int,
    "contract": dict,
    "files": dict,
    "normalizers": dict,
    "prefix_longest": int,
    "intent_rate_hz": (int, float),
    "encoder": str,
}
"""What every manifest holds."""
INTENT_RATES_HZ = (0.1, 100.0)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    contract: Contract
    state: Normalizer
    actions: Normalizer
    """Statistics per place in the chunk, (H, A)."""
    prefix_longest: int
    """Most committed actions the expert was trained to be given."""
    intent_rate_hz: float
    """How often the intent should be renewed."""
    manifest: dict[str, Any]

    def graph(self, name: str) -> Path:
        return self.folder / name


def load(folder: Path, contract: Contract | None = None) -> Bundle:
    """Read and verify; `contract` is what the caller can offer."""
    manifest = _manifest(Path(folder))
    found = Contract.from_json(json.dumps(manifest["contract"]))
    if contract is not None:
        contract.require(found, f"bundle {folder}")
    for name in GRAPHS:
        _verify(Path(folder) / name, manifest["files"].get(name))
    state, actions = (_normalizer(folder, manifest, name) for name in ("state", "actions"))
    _same_shape(folder, "state", state.mean, (found.state_dim,))
    _same_shape(folder, "actions", actions.mean, (found.horizon, found.action_dim))
    return Bundle(
        folder=Path(folder),
        contract=found,
        state=state,
        actions=actions,
        prefix_longest=_within(folder, manifest, "prefix_longest", 0, found.horizon - 1),
        intent_rate_hz=float(_within(folder, manifest, "intent_rate_hz", *INTENT_RATES_HZ)),
        manifest=manifest,
    )


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise ContractError(f"{folder} is no bundle: it has no {MANIFEST}; make one with `como export`")
    try:
        manifest = json.loads(path.read_text("utf8"))
    except (json.JSONDecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ContractError(f"{path} is damaged: {error}; export the bundle again") from error
    if not isinstance(manifest, dict) or (missing := sorted(set(KINDS) - set(manifest))):
        lacks = missing if isinstance(manifest, dict) else "everything"
        raise ContractError(f"{path} lacks {lacks}; export the bundle again")
    for name, kind in KINDS.items():
        if not isinstance(manifest[name], kind) or isinstance(manifest[name], bool):
            raise ContractError(f"{path}: {name} cannot be {manifest[name]!r:.60}; export the bundle again")
    if manifest["version"] != VERSION:
        raise ContractError(f"{path} is version {manifest['version']}, this program reads {VERSION}")
    return manifest


def _within(folder: Path, manifest: dict[str, Any], name: str, low: float, high: float) -> Any:
    if not low <= manifest[name] <= high:
        raise ContractError(f"bundle {folder}: {name} must be {low} to {high}, got {manifest[name]}")
    return manifest[name]


def _verify(path: Path, expected: str | None) -> None:
    if expected is None:
        raise ContractError(f"{path.parent / MANIFEST} does not list {path.name}; export the bundle again")
    if not path.is_file():
        raise ContractError(f"bundle file {path} is missing; copy the bundle again")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ContractError(
            f"bundle file {path} is truncated or altered: "
            f"sha256 {found[:12]}, the manifest says {expected!s:.12}"
        )


def _normalizer(folder: Path, manifest: dict[str, Any], name: str) -> Normalizer:
    raw = manifest["normalizers"].get(name)
    if raw is None:
        raise ContractError(f"bundle {folder} has no normaliser for {name}; export it again")
    try:
        found = Normalizer.from_dict(raw)
    except (KeyError, TypeError, ValueError) as error:
        raise ContractError(
            f"bundle {folder}: normaliser of {name} is damaged ({error}); export it again"
        ) from error
    if found.mean.shape != found.std.shape or not np.isfinite(found.mean).all() or not _positive(found.std):
        raise ContractError(
            f"bundle {folder}: normaliser of {name} needs finite means and as many positive deviations; "
            "export it again"
        )
    return found


def _positive(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all() and (values > 0).all())


def _same_shape(folder: Path, what: str, found: np.ndarray, wanted: tuple[int, ...]) -> None:
    if found.shape != wanted:
        raise ContractError(
            f"bundle {folder}: normaliser of {what} is {found.shape}, its contract says {wanted}"
        )
