"""A real bundle whose policy always says the same thing, for tests that need a policy but not its skill."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from policies.bundle import ENCODER, EXPERT, GRAPHS, INTENT, MANIFEST
from policies.spaces import INTENT_TOKENS, Contract

CONTRACT = Contract()
TOKENS, WIDTH = 64, 128
H, A, S = CONTRACT.horizon, CONTRACT.action_dim, CONTRACT.state_dim
FLOAT = TensorProto.FLOAT


def write_constant_bundle(folder: Path, step_m: tuple[float, float, float], width_m: float = 0.08) -> Path:
    """Every action lies `step_m` beyond the one before, in the frame of the end effector."""
    actions = np.tile(np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, width_m], np.float32), (H, 1))
    actions[:, :3] = np.array(step_m) * np.arange(1, H + 1)[:, None]
    h, w = CONTRACT.image_hw
    cameras = len(CONTRACT.cameras)
    folder.mkdir(parents=True, exist_ok=True)
    _write(
        folder / ENCODER,
        {"images": (TensorProto.UINT8, (cameras, h, w, 3))},
        {"tokens": np.zeros((cameras, TOKENS, WIDTH), np.float32)},
    )
    _write(
        folder / INTENT,
        {"front": (FLOAT, (1, TOKENS, WIDTH)), "text": (TensorProto.INT64, (1, 64))},
        {"hidden": np.zeros((1, INTENT_TOKENS, WIDTH), np.float32)},
    )
    expert = {
        "noise": (FLOAT, (1, H, A)),
        "tokens": (FLOAT, (1, cameras, TOKENS, WIDTH)),
        "intent": (FLOAT, (1, INTENT_TOKENS, WIDTH)),
        "state": (FLOAT, (1, S)),
        "prefix": (FLOAT, (1, H, A)),
        "clean": (FLOAT, (1, H)),
    }
    _write(folder / EXPERT, expert, {"actions": actions[None]})
    (folder / MANIFEST).write_text(json.dumps(_manifest(folder)))
    return folder


def _write(
    path: Path, inputs: dict[str, tuple[int, tuple[int, ...]]], outputs: dict[str, np.ndarray]
) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
            for name, value in outputs.items()
        ],
        path.stem,
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, value.shape) for name, value in outputs.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def _manifest(folder: Path) -> dict[str, object]:
    return {
        "version": 1,
        "contract": json.loads(CONTRACT.to_json()),
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in GRAPHS},
        "normalizers": {
            "state": {"mean": np.zeros(S).tolist(), "std": np.ones(S).tolist()},
            "actions": {"mean": np.zeros((H, A)).tolist(), "std": np.ones((H, A)).tolist()},
        },
        "prefix_longest": 4,
        "intent_rate_hz": 5.0,
        "encoder": "",
    }
