"""A trained run into a bundle: three static ONNX graphs, a manifest, a parity gate, compiled engines.

Every graph must agree with torch on observations recorded at training time, or nothing is exported.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from policies import bundle, engines
from policies.nets import artefact
from policies.nets.encoder import TOKENS, WIDTH, LabEncoder
from policies.nets.expert import ExpertNet, sample
from policies.nets.intent import IntentNet
from policies.spaces import INSTRUCTION_BYTES, INTENT_TOKENS, Contract, ContractError, Normalizer, image_key

MIN_COSINE = 0.999
OPSET = 18


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What goes into the bundle."""

    flow_steps: int = 8
    """Euler steps, unrolled into the graph."""
    intent_rate_hz: float = 5.0
    """How often the robot should renew the intent."""
    engines: tuple[str, ...] = ("onnx",)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.engines) - {"onnx", *engines.BUILDERS}):
            raise ContractError(f"unknown engines {unknown}; known: {['onnx', *engines.BUILDERS]}")
        if self.flow_steps < 1:
            raise ContractError(f"flow_steps must be at least 1, got {self.flow_steps}")


class ExpertGraph(nn.Module):
    """The whole sampler as one graph."""

    def __init__(self, expert: ExpertNet, uses_intent: bool, steps: int):
        super().__init__()
        self.expert, self.uses_intent, self.steps = expert, uses_intent, steps

    def forward(
        self,
        noise: torch.Tensor,
        tokens: torch.Tensor,
        intent: torch.Tensor,
        state: torch.Tensor,
        prefix: torch.Tensor,
        clean: torch.Tensor,
    ) -> torch.Tensor:
        keep = None if self.uses_intent else torch.zeros(1, 1, 1, dtype=torch.bool)
        context = self.expert.context(tokens[:, 0], tokens[:, 1], intent, state, keep)
        return sample(self.expert, noise, prefix, clean > 0.5, context, self.steps)


@dataclass(frozen=True)
class Run:
    """A trained policy with its encoder, as torch modules in evaluation mode."""

    encoder: LabEncoder
    intent: IntentNet
    expert: ExpertNet
    policy: artefact.Artefact
    encoder_sha256: str

    @property
    def contract(self) -> Contract:
        return self.policy.contract


def open_run(folder: Path) -> Run:
    policy = artefact.load(folder, "policy")
    found = artefact.load(folder / "encoder", "encoder", policy.contract)
    config, contract = policy.config, policy.contract
    encoder = LabEncoder(found.config["blocks"])
    encoder.load_state_dict(found.weights)
    intent = IntentNet(config["intent_blocks"], config["intent_heads"])
    expert = ExpertNet(
        contract.horizon, config["width"], config["blocks"], config["heads"], len(contract.cameras)
    )
    nets: dict[str, nn.Module] = {"intent.": intent, "expert.": expert}
    for prefix, net in nets.items():
        net.load_state_dict({k[len(prefix) :]: v for k, v in policy.weights.items() if k.startswith(prefix)})
    for net in (encoder, *nets.values()):
        net.eval().requires_grad_(False)
    return Run(encoder, intent, expert, policy, found.sha256)


def export(run: Path, out: Path, config: ExportConfig | None = None) -> dict[str, Any]:
    """Write the bundle and return `engines: [{name, cosine, max_abs, ok}]`; refuses on lost parity."""
    chosen, trained = config or ExportConfig(), open_run(Path(run))
    out.mkdir(parents=True, exist_ok=True)
    observations = recorded_observations(Path(run), trained)
    modules = {
        bundle.ENCODER: trained.encoder,
        bundle.INTENT: trained.intent,
        bundle.EXPERT: ExpertGraph(
            trained.expert, trained.policy.extra["uses_intent"], chosen.flow_steps
        ).eval(),
    }
    rows = []
    inputs = graph_inputs(trained, observations)
    for name, module in modules.items():
        write_graph(module, inputs[name][0], OUTPUTS[name], out / name)
        rows.append(parity(name, module, inputs[name], out / name))
    if failed := [row for row in rows if not row["ok"]]:
        raise ContractError(f"the exported graphs do not agree with torch: {failed}; nothing may run on them")
    for engine in chosen.engines:
        if engine != "onnx":
            rows += engines.BUILDERS[engine]([out / name for name in bundle.GRAPHS], out / "engines")
    (out / bundle.MANIFEST).write_text(
        json.dumps(manifest(trained, chosen, rows, out), indent=1, default=float)
    )
    bundle.load(out, trained.contract)
    return {"engines": rows}


OUTPUTS = {
    bundle.ENCODER: ("tokens",),
    bundle.INTENT: ("hidden", "motion"),
    bundle.EXPERT: ("actions",),
}


def recorded_observations(run: Path, trained: Run) -> dict[str, np.ndarray]:
    path = run / "observations.npz"
    if not path.is_file():
        raise ContractError(
            f"{path} is missing: parity is checked on recorded observations; train the run again"
        )
    with np.load(path, allow_pickle=False) as file:
        stored = {key: file[key] for key in file.files}
    state = Normalizer.from_dict(trained.policy.extra["normalizers"]["state"])
    images = np.stack([stored[image_key(name)] for name in trained.contract.cameras], 1)
    return {"images": images, "state": state.normalize(stored["states"]), "text": stored["text"]}


def graph_inputs(run: Run, seen: dict[str, np.ndarray]) -> dict[str, list[dict[str, torch.Tensor]]]:
    """Named inputs of every graph for each recorded observation; every other one has a committed prefix."""
    generator, shape = torch.Generator().manual_seed(0), (1, run.contract.horizon, run.contract.action_dim)
    out: dict[str, list[dict[str, torch.Tensor]]] = {name: [] for name in bundle.GRAPHS}
    for index in range(len(seen["state"])):
        images, text = torch.from_numpy(seen["images"][index]), torch.from_numpy(seen["text"][index])[None]
        tokens = run.encoder(images)
        clean = (torch.arange(shape[1])[None] < (index % 2) * run.policy.config["prefix_longest"]).float()
        out[bundle.ENCODER].append({"images": images})
        out[bundle.INTENT].append({"front": tokens[:1], "text": text})
        noise, prefix = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
        out[bundle.EXPERT].append(
            {
                "noise": noise,
                "tokens": tokens[None],
                "intent": run.intent(tokens[:1], text)[0],
                "state": torch.from_numpy(seen["state"][index])[None],
                "prefix": prefix,
                "clean": clean,
            }
        )
    return out


def write_graph(
    module: nn.Module, inputs: dict[str, torch.Tensor], outputs: tuple[str, ...], path: Path
) -> None:
    """Traced export: every shape is static and nothing branches, and it is 15 times faster than dynamo's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=False,
        )


def parity(name: str, module: nn.Module, inputs: list[dict[str, torch.Tensor]], path: Path) -> dict[str, Any]:
    """Worst cosine and largest difference between torch and ONNX Runtime over all recorded observations."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    cosine, max_abs = 1.0, 0.0
    for feed in inputs:
        with torch.no_grad():
            wanted = module(*feed.values())
        found = session.run(None, {key: value.numpy() for key, value in feed.items()})
        for a, b in zip(wanted if isinstance(wanted, tuple) else (wanted,), found, strict=True):
            x, y = a.double().flatten(), torch.from_numpy(b).double().flatten()
            same = float(x @ y / (x.norm() * y.norm()).clamp(min=1e-12)) if float(x.norm()) > 0 else 1.0
            cosine, max_abs = min(cosine, same), max(max_abs, float((x - y).abs().max()))
    return {"name": f"onnx/{name}", "cosine": cosine, "max_abs": max_abs, "ok": cosine >= MIN_COSINE}


def manifest(run: Run, config: ExportConfig, rows: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    extra = run.policy.extra
    return {
        "version": bundle.VERSION,
        "contract": json.loads(run.contract.to_json()),
        "files": {name: artefact.file_sha256(out / name) for name in bundle.GRAPHS},
        "shapes": {"tokens": [TOKENS, WIDTH], "intent": [INTENT_TOKENS, WIDTH], "text": [INSTRUCTION_BYTES]},
        "normalizers": extra["normalizers"],
        "prefix_longest": run.policy.config["prefix_longest"],
        "intent_rate_hz": config.intent_rate_hz,
        "flow_steps": config.flow_steps,
        "encoder": run.encoder_sha256,
        "policy": run.policy.sha256,
        "config": run.policy.config,
        "source": extra["source"],
        "git": artefact.git_hash(),
        "engines": rows,
    }
