"""The vocabulary: what a policy sees and says, in fixed names, shapes, units and frames.

Letters: B batch, T time, H chunk length, A action dims, S state dims, Z latent-motion dims,
K intent tokens, h w c image. Poses are 4x4 matrices inside functions and `pose7` rows
(x y z, then quaternion xyzw) where they are stored or sent. Lengths in metres, angles in radians,
stamps in nanoseconds of system time at capture. `docs/data_contract.md` says the same in prose
and a test holds the two together.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from policies.poses import (
    invert_pose,
    matrix_from_pose7,
    matrix_from_quaternion,
    matrix_from_rot6d,
    pose7_from_matrix,
    quaternion_from_matrix,
    rot6d_from_matrix,
)

ROBOTS = ("panda", "fr3")
CAMERAS = ("front", "wrist")
STATE = "state"
INSTRUCTION = "instruction"

EE_POSITION = slice(0, 3)
EE_ROT6D = slice(3, 9)
GRIPPER = 9
JOINTS = slice(10, 17)

STATE_DIM = 17
ACTION_DIM = 10
INTENT_TOKENS = 4
MOTION_TOKENS = 8
MOTION_DIM = 128

GRIPPER_MAX_M = 0.08
EVALUATION_SEEDS_FROM = 10_000
"""Seeds from here on measure; nothing is ever trained or tuned on them."""
INSTRUCTION_BYTES = 64
FASTEST_HZ = 1000
"""No arm takes set-points faster."""


def image_key(camera: str) -> str:
    return f"images/{camera}"


class ContractError(ValueError):
    """Two parts do not agree on what is observed or commanded."""


def _is_whole(value: object) -> bool:
    """JSON's true and false are no numbers, though Python counts them as such."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What a bag, a bundle and a live graph must agree on before anything moves."""

    robot: str = "panda"
    """Which arm the numbers belong to: panda or fr3."""
    cameras: tuple[str, ...] = CAMERAS
    image_hw: tuple[int, int] = (128, 128)
    """Height and width in pixels of every colour image the policy reads."""
    state_dim: int = STATE_DIM
    action_dim: int = ACTION_DIM
    horizon: int = 16
    """H, the actions in a chunk."""
    action_rate_hz: float = 10.0
    version: int = 1

    def __post_init__(self) -> None:
        for name in ("horizon", "state_dim", "action_dim", "version"):
            self._must_be(name, _is_whole(getattr(self, name)), "a whole number")
        for name in ("horizon", "action_rate_hz", "state_dim", "action_dim"):
            value = getattr(self, name)
            positive = isinstance(value, int | float) and 0 < value < float("inf")
            self._must_be(name, positive, "positive and finite")
        self._must_be("action_rate_hz", self.action_rate_hz <= FASTEST_HZ, f"at most {FASTEST_HZ} Hz")
        named = isinstance(self.cameras, tuple) and all(isinstance(name, str) for name in self.cameras)
        self._must_be("cameras", named and bool(self.cameras), "names")
        pair = isinstance(self.image_hw, tuple) and len(self.image_hw) == 2
        sizes = pair and all(_is_whole(size) and size > 0 for size in self.image_hw)
        self._must_be("image_hw", sizes, "a height and a width")
        self._must_be("robot", self.robot in ROBOTS, f"one of {', '.join(ROBOTS)}")

    def _must_be(self, name: str, holds: bool, what: str) -> None:
        if not holds:
            raise ContractError(f"contract: {name} must be {what}, got {getattr(self, name)!r}")

    @property
    def period_ns(self) -> int:
        return round(1e9 / self.action_rate_hz)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Contract:
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise ContractError(f"contract is not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise ContractError(f"contract must be a JSON object, got {type(raw).__name__}")
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(raw) - known):
            raise ContractError(f"contract has unknown keys {unknown}; known: {sorted(known)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        return cls(**values)

    def differences(self, other: Contract) -> list[str]:
        """Name every field on which `other` disagrees."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return [f"{name}: {mine!r} != {theirs!r}" for name, mine, theirs in pairs if mine != theirs]

    def require(self, other: Contract, what: str) -> None:
        if found := self.differences(other):
            raise ContractError(f"{what} was made for another contract: " + "; ".join(found))

    def require_seen(self, observation: Observation) -> None:
        """Refuse a live graph that shows something else than this contract promises, with all of it."""
        size = (*self.image_hw, 3)
        found = [f"no image of camera {name!r}" for name in self.cameras if name not in observation.images]
        for name, image in observation.images.items():
            if name not in self.cameras:
                found.append(f"camera {name!r} is not in {self.cameras}")
            elif image.shape != size or image.dtype != np.uint8:
                found.append(f"camera {name!r} gives {image.shape} {image.dtype}, not {size} uint8")
        if observation.state.shape != (self.state_dim,) or not np.isfinite(observation.state).all():
            found.append(f"state is {observation.state}, not {self.state_dim} finite numbers")
        if found:
            raise ContractError("the live graph does not keep the contract: " + "; ".join(found))


@dataclass(frozen=True)
class Observation:
    """What the policy sees at one tick; each stream keeps its own capture stamp."""

    stamp_ns: int
    images: dict[str, np.ndarray]
    """Camera name -> (h, w, 3) uint8 RGB."""
    state: np.ndarray
    """(S,) float32, see `pack_state`."""
    instruction: str = ""
    stamps_ns: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ActionChunk:
    """H timed set-points in the base frame."""

    stamp_ns: int
    """When the first set-point is due."""
    poses: np.ndarray
    """(H, 7) pose7 of the end effector."""
    widths: np.ndarray
    """(H,) gripper width."""
    period_ns: int = 100_000_000

    @property
    def due_ns(self) -> np.ndarray:
        return self.stamp_ns + self.period_ns * np.arange(len(self.poses))


@dataclass(frozen=True)
class Intent:
    """What the intent head means to do next: a stamped latent the expert reads."""

    stamp_ns: int
    tokens: np.ndarray
    """(K, d) float32."""


# State and actions -------------------------------------------------------------------------------


def pack_state(
    ee_pose7: np.ndarray, gripper_width_m: np.ndarray | float, joints_rad: np.ndarray
) -> np.ndarray:
    """EE position 3 + rot6d 6 + gripper width 1 + joints 7 -> (..., S) float32."""
    rot6d = rot6d_from_matrix(matrix_from_quaternion(ee_pose7[..., 3:7]))
    width = np.asarray(gripper_width_m, float)[..., None]
    return np.concatenate([ee_pose7[..., :3], rot6d, width, joints_rad], -1).astype(np.float32)


def pose7_from_state(state: np.ndarray) -> np.ndarray:
    quaternion = quaternion_from_matrix(matrix_from_rot6d(np.asarray(state, float)[..., EE_ROT6D]))
    return np.concatenate([state[..., EE_POSITION], quaternion], -1)


def relative_actions(start_pose7: np.ndarray, poses7: np.ndarray, widths_m: np.ndarray) -> np.ndarray:
    """Set-points in the base frame -> (H, A) actions in the frame of the EE pose at the chunk's start."""
    local = invert_pose(matrix_from_pose7(start_pose7)) @ matrix_from_pose7(poses7)
    rot6d = rot6d_from_matrix(local[..., :3, :3])
    return np.concatenate([local[..., :3, 3], rot6d, widths_m[..., None]], -1).astype(np.float32)


def absolute_actions(start_pose7: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of `relative_actions`: -> (H, 7) poses in the base frame and (H,) widths."""
    local = np.zeros((*np.shape(actions)[:-1], 4, 4))
    local[..., :3, :3] = matrix_from_rot6d(np.asarray(actions, float)[..., EE_ROT6D])
    local[..., :3, 3] = actions[..., EE_POSITION]
    local[..., 3, 3] = 1
    return pose7_from_matrix(matrix_from_pose7(start_pose7) @ local), np.asarray(actions[..., GRIPPER], float)


@dataclass(frozen=True)
class Normalizer:
    """Per-dimension mean and standard deviation; `normalize` and `unnormalize` undo each other."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, rows: np.ndarray, floor: float = 1e-3) -> Normalizer:
        """Fit on (N, D); dimensions that hardly move get `floor` as their deviation."""
        flat = rows.reshape(-1, rows.shape[-1]).astype(np.float64)
        return cls(flat.mean(0).astype(np.float32), np.maximum(flat.std(0), floor).astype(np.float32))

    def normalize(self, rows: np.ndarray) -> np.ndarray:
        return ((rows - self.mean) / self.std).astype(np.float32)

    def unnormalize(self, rows: np.ndarray) -> np.ndarray:
        return (rows * self.std + self.mean).astype(np.float32)

    def to_dict(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_dict(cls, raw: dict[str, list[float]]) -> Normalizer:
        return cls(np.asarray(raw["mean"], np.float32), np.asarray(raw["std"], np.float32))


def instruction_bytes(instruction: str) -> np.ndarray:
    """(INSTRUCTION_BYTES,) int64: UTF-8 bytes plus one, zero where there is no text."""
    raw = instruction.strip().lower().encode()[:INSTRUCTION_BYTES]
    out = np.zeros(INSTRUCTION_BYTES, np.int64)
    out[: len(raw)] = np.frombuffer(raw, np.uint8).astype(np.int64) + 1
    return out
