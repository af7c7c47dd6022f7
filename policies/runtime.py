"""The policy on the robot: observations in, intents and action chunks out. numpy and ONNX Runtime only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

from policies import bundle as bundles
from policies.bundle import Bundle
from policies.spaces import (
    INSTRUCTION_BYTES,
    INTENT_TOKENS,
    Contract,
    ContractError,
    Intent,
    Observation,
    instruction_bytes,
)

UNREADABLE = (
    onnx_errors.Fail,
    onnx_errors.InvalidArgument,
    onnx_errors.InvalidGraph,
    onnx_errors.InvalidProtobuf,
    onnx_errors.NotImplemented,
    onnx_errors.RuntimeException,
)
"""What ONNX Runtime says of a file that is no graph, or of one that it cannot run."""
THREADS = 2
"""Of one inference: more than two do not help networks of this size."""


class Policy:
    """Not thread-safe: one worker owns it."""

    def __init__(self, bundle: Bundle, providers: Sequence[str], threads: int = THREADS):
        self.bundle = bundle
        self.contract: Contract = bundle.contract
        graphs = [_session(bundle.graph(name), providers, threads) for name in bundles.GRAPHS]
        for name, graph in zip(bundles.GRAPHS, graphs, strict=True):
            _require_ports(bundle, name, graph)
        self._encoder, self._intent, self._expert = graphs
        self._seen: tuple[Observation, np.ndarray] | None = None

    def warm_up(self) -> None:
        """Run everything once, so that the first real call is as fast as the rest."""
        h, w = self.contract.image_hw
        images = {name: np.zeros((h, w, 3), np.uint8) for name in self.contract.cameras}
        nothing = Observation(0, images, self.bundle.state.mean.astype(np.float32))
        self.act(nothing, self.intend(nothing))
        self._seen = None

    def intend(self, observation: Observation) -> Intent:
        """What to do next, from the first camera and the instruction."""
        front = self._tokens(observation)[:1]
        text = instruction_bytes(observation.instruction)[None]
        tokens = self._intent.run(["hidden"], {"front": front, "text": text})[0][0]
        return Intent(observation.stamp_ns, tokens)

    def act(
        self, observation: Observation, intent: Intent, prefix: np.ndarray | None = None, seed: int = 0
    ) -> np.ndarray:
        """(H, A) relative actions; the first d are `prefix` (d, A), relative to the same pose, as given."""
        committed = self._checked_prefix(prefix)
        d, shape = len(committed), (self.contract.horizon, self.contract.action_dim)
        given, clean = np.zeros(shape, np.float32), np.zeros(shape[0], np.float32)
        given[:d], clean[:d] = committed, 1
        given = np.where(clean[:, None] > 0, self.bundle.actions.normalize(given), 0).astype(np.float32)
        tokens = self._tokens(observation)
        feeds = {
            "noise": np.random.default_rng(seed).standard_normal(shape, np.float32)[None],
            "tokens": tokens[None],
            "intent": np.asarray(intent.tokens, np.float32).reshape(1, INTENT_TOKENS, -1),
            "state": self.bundle.state.normalize(observation.state)[None],
            "prefix": given[None],
            "clean": clean[None],
        }
        actions = self.bundle.actions.unnormalize(self._expert.run(["actions"], feeds)[0][0])
        actions[:d] = committed
        if not np.isfinite(actions).all():
            raise FloatingPointError("the expert produced actions that are not finite")
        return actions

    def _tokens(self, observation: Observation) -> np.ndarray:
        """(cameras, 64, 128), computed once per observation."""
        if self._seen is None or self._seen[0] is not observation:
            self._seen = (
                observation,
                self._encoder.run(["tokens"], {"images": self._images(observation)})[0],
            )
        return self._seen[1]

    def _images(self, observation: Observation) -> np.ndarray:
        self.contract.require_seen(observation)
        return np.stack([observation.images[name] for name in self.contract.cameras])

    def _checked_prefix(self, prefix: np.ndarray | None) -> np.ndarray:
        if prefix is None:
            return np.zeros((0, self.contract.action_dim), np.float32)
        if prefix.ndim != 2 or prefix.shape[1] != self.contract.action_dim:
            raise ContractError(f"prefix must be (d, {self.contract.action_dim}), got {prefix.shape}")
        if len(prefix) > self.bundle.prefix_longest:
            raise ContractError(
                f"prefix has {len(prefix)} actions, the expert knows {self.bundle.prefix_longest}"
            )
        return prefix.astype(np.float32)


def _session(path: Path, providers: Sequence[str], threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except UNREADABLE as error:
        raise ContractError(
            f"bundle file {path} is no graph that runs here: {error}; export it again"
        ) from error


Ports = dict[str, list[int] | None]
"""Inputs of a graph with their shapes, None where the contract says nothing of one."""


def _ports(contract: Contract) -> dict[str, tuple[Ports, str]]:
    """Graph -> what is fed to it, and the output that is asked of it."""
    chunk = [1, contract.horizon, contract.action_dim]
    expert: Ports = {"noise": chunk, "prefix": chunk, "clean": chunk[:2], "state": [1, contract.state_dim]}
    return {
        bundles.ENCODER: ({"images": [len(contract.cameras), *contract.image_hw, 3]}, "tokens"),
        bundles.INTENT: ({"front": None, "text": [1, INSTRUCTION_BYTES]}, "hidden"),
        bundles.EXPERT: ({**expert, "tokens": None, "intent": None}, "actions"),
    }


def _require_ports(bundle: Bundle, name: str, graph: onnxruntime.InferenceSession) -> None:
    """Refuse a graph that takes or gives something else."""
    takes, gives = _ports(bundle.contract)[name]
    found = {port.name: port.shape for port in graph.get_inputs()}
    known = {port: shape and found.get(port) for port, shape in takes.items()}
    if found.keys() != takes.keys() or known != takes or gives not in {o.name for o in graph.get_outputs()}:
        told = f"takes {found}, its contract wants {takes} and {gives!r} back"
        raise ContractError(f"bundle file {bundle.graph(name)} {told}; export it again")


def load(folder: Path, providers: Sequence[str] | None = None, contract: Contract | None = None) -> Policy:
    """Verify the bundle and open it with the given ONNX Runtime providers, the CPU's by default."""
    chosen = tuple(providers or ("CPUExecutionProvider",))
    available = onnxruntime.get_available_providers()
    if missing := [name for name in chosen if name not in available]:
        raise ContractError(f"ONNX Runtime here has no {missing}; available: {available}")
    return Policy(bundles.load(Path(folder), contract), chosen)
