"""Trained artefacts on disk: a folder with `config.json` and `weights.safetensors`, never pickle.

The JSON names the kind, the config that made it, the contract, the git hash and the sha256 of the
weights. Loading checks all of them and refuses; it never guesses.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from policies.spaces import Contract, ContractError

CONFIG = "config.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Artefact:
    kind: str
    folder: Path
    config: dict[str, Any]
    contract: Contract
    sha256: str
    """Of the weights file: the artefact's identity."""
    extra: dict[str, Any]
    weights: dict[str, torch.Tensor]


def git_hash() -> str:
    """The commit of this source tree, or `unknown` for an installed copy."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save(
    folder: Path, kind: str, weights: dict[str, torch.Tensor], config: Any, contract: Contract, **extra: Any
) -> str:
    """Write the artefact and return its sha256."""
    refuse_another_kind(folder, kind)
    folder.mkdir(parents=True, exist_ok=True)
    whole = {k: v.detach().float().contiguous().clone() for k, v in weights.items()}
    try:
        save_file(whole, folder / WEIGHTS)
    except SafetensorError as error:
        raise ContractError(
            f"{folder / WEIGHTS} cannot be written ({error}); make room and run it again"
        ) from error
    sha256 = file_sha256(folder / WEIGHTS)
    header = {
        "kind": kind,
        "config": asdict(config) if is_dataclass(config) and not isinstance(config, type) else config,
        "contract": json.loads(contract.to_json()),
        "git": git_hash(),
        "sha256": sha256,
        "extra": {key: _without_folders(value) for key, value in extra.items()},
    }
    fresh = folder / f"{CONFIG}.new"
    fresh.write_text(json.dumps(header, indent=1, default=float))
    fresh.replace(folder / CONFIG)
    return sha256


def refuse_another_kind(folder: Path, kind: str) -> None:
    """What is trained there is no place for something else."""
    if not (folder / CONFIG).is_file():
        return
    try:
        found = json.loads((folder / CONFIG).read_text("utf8"))["kind"]
    except (KeyError, TypeError, ValueError):
        found = "something that is damaged"
    if found != kind:
        raise ContractError(f"{folder} holds a trained {found}; give another folder for the {kind}")


def _without_folders(value: Any) -> Any:
    """Paths shortened to their last part: an artefact travels, its maker's disk does not."""
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def load(folder: Path, kind: str, contract: Contract | None = None) -> Artefact:
    """Read and verify an artefact; the reason for a refusal is in the error."""
    header = _header(Path(folder), kind)
    found = Contract.from_json(json.dumps(header["contract"]))
    if contract is not None:
        contract.require(found, f"{kind} {folder}")
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise ContractError(f"{kind} {folder} has no {WEIGHTS}; train it again")
    if file_sha256(path) != header["sha256"]:
        raise ContractError(f"{path} is not the file its {CONFIG} describes (sha256 differs); train it again")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ContractError(f"{path} is not a safetensors file: {error}") from error
    return Artefact(kind, Path(folder), header["config"], found, header["sha256"], header["extra"], weights)


def _header(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise ContractError(f"{folder} is no trained {kind}: it has no {CONFIG}")
    try:
        header = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ContractError(f"{path} is not JSON: {error}") from error
    if missing := sorted({"kind", "config", "contract", "sha256", "extra"} - set(header)):
        raise ContractError(f"{path} lacks {missing}; train it again")
    if header["kind"] != kind:
        raise ContractError(f"{folder} holds a {header['kind']!r}, a {kind!r} was asked for")
    return header


def config_from(cls: type[Any], raw: dict[str, Any]) -> Any:
    """Rebuild a frozen config from its JSON, nested configs and tuples included; unknown keys are refused."""
    hints = get_type_hints(cls)
    if unknown := sorted(set(raw) - {f.name for f in fields(cls)}):
        raise ContractError(f"{cls.__name__} has no fields {unknown}; the artefact is of another version")
    values = {}
    for name, value in raw.items():
        nested = hints[name]
        if isinstance(nested, type) and is_dataclass(nested) and isinstance(value, dict):
            values[name] = config_from(nested, value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return cls(**values)
