"""A real bundle whose policy always says the same thing, for tests that need a policy but not its skill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
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


def write_constant_bundle(
    folder: Path,
    step_m: tuple[float, float, float],
    width_m: float = 0.08,
    fails_below_m: float = -1.0,
) -> Path:
    """Every action lies `step_m` beyond the one before, in the frame of the end effector.

    With `fails_below_m` the expert raises while the gripper's width is below it and not zero, as in a
    warm-up.
    """
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
    _write(folder / EXPERT, expert, {"actions": actions[None]}, _fail_below(fails_below_m))
    (folder / MANIFEST).write_text(json.dumps(_manifest(folder)))
    return folder


def _fail_below(width_m: float) -> list[onnx.NodeProto]:
    """Look up row 0 of one row, or row 99 when the state's width is below: the run time raises."""
    return [
        _constant("limit", np.array([width_m], np.float32)),
        _constant("place", np.array([9])),
        _constant("far", np.array([99])),
        _constant("one_row", np.zeros(1, np.float32)),
        helper.make_node("Gather", ["state", "place"], ["width"], axis=1),
        _constant("nothing", np.zeros(1, np.float32)),
        helper.make_node("Less", ["width", "limit"], ["small"]),
        helper.make_node("Greater", ["width", "nothing"], ["some"]),
        helper.make_node("And", ["small", "some"], ["below"]),
        helper.make_node("Cast", ["below"], ["as_number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["as_number", "far"], ["row"]),
        helper.make_node("Gather", ["one_row", "row"], ["looked_up"]),
    ]


def _constant(name: str, value: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


def _write(
    path: Path,
    inputs: dict[str, tuple[int, tuple[int, ...]]],
    outputs: dict[str, np.ndarray],
    more: Sequence[onnx.NodeProto] = (),
) -> None:
    nodes = [_constant(name, value) for name, value in outputs.items()]
    if more:  # the look-up is added to the output, so that it cannot be optimised away
        (name,) = outputs
        nodes[0].output[0] = "said"
        nodes = [*nodes, *more, helper.make_node("Add", ["said", "looked_up"], [name])]
    graph = helper.make_graph(
        nodes,
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
