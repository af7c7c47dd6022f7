"""Bundles: export parity, verification, and a runtime without torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from policies import bundle, export, runtime
from policies.nets import artefact
from policies.nets.encoder import LabEncoder
from policies.nets.expert import ExpertNet
from policies.nets.intent import IntentNet
from policies.spaces import Contract, ContractError, Observation, instruction_bytes, pack_state

CONTRACT = Contract(horizon=4)
CONFIG = {"width": 20, "blocks": 1, "heads": 5, "intent_blocks": 1, "intent_heads": 4, "prefix_longest": 2}


def some_state() -> np.ndarray:
    return pack_state(np.array([0.5, 0, 0.3, 1, 0, 0, 0]), 0.08, np.zeros(7))


def some_observation(seed: int = 0) -> Observation:
    rng = np.random.default_rng(seed)
    images = {c: rng.integers(0, 255, (128, 128, 3), dtype=np.uint8) for c in CONTRACT.cameras}
    return Observation(1, images, some_state(), "pick up the cube")


def write_run(folder: Path) -> Path:
    """A small policy with random weights, on disk as training leaves it."""
    torch.manual_seed(0)
    expert = ExpertNet(CONTRACT.horizon, CONFIG["width"], CONFIG["blocks"], CONFIG["heads"])
    for parameter in expert.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    weights = {f"expert.{k}": v for k, v in expert.state_dict().items()}
    weights |= {f"intent.{k}": v for k, v in IntentNet(1).state_dict().items()}
    shapes = {"state": (17,), "actions": (4, 10)}
    normalizers = {k: {"mean": np.zeros(s).tolist(), "std": np.ones(s).tolist()} for k, s in shapes.items()}
    artefact.save(
        folder, "policy", weights, CONFIG, CONTRACT, normalizers=normalizers, uses_intent=True, source={}
    )
    artefact.save(folder / "encoder", "encoder", LabEncoder(1).state_dict(), {"blocks": 1}, CONTRACT)
    images = {
        f"images/{c}": np.stack([some_observation(i).images[c] for i in range(2)]) for c in CONTRACT.cameras
    }
    text = np.stack([instruction_bytes("pick up the cube")] * 2)
    np.savez(folder / "observations.npz", states=np.stack([some_state()] * 2), text=text, **images)
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    result = export.export(write_run(folder / "run"), folder / "bundle", export.ExportConfig(flow_steps=2))
    assert [row["ok"] for row in result["engines"]] == [True] * 3
    assert min(row["cosine"] for row in result["engines"]) > 0.9999
    return folder / "bundle"


@pytest.fixture
def copied(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


def test_the_exported_policy_acts_as_torch_does(exported):
    run = export.open_run(exported.parent / "run")
    observation, policy = some_observation(), runtime.load(exported)
    intent = policy.intend(observation)
    images = torch.from_numpy(np.stack([observation.images[c] for c in CONTRACT.cameras]))
    tokens = run.encoder(images)
    graph = export.ExpertGraph(run.expert, True, 2)
    noise = torch.from_numpy(np.random.default_rng(7).standard_normal((4, 10), np.float32))[None]
    state, nothing = torch.from_numpy(observation.state)[None], torch.zeros(1, 4, 10)
    wanted = graph(
        noise, tokens[None], torch.from_numpy(intent.tokens)[None], state, nothing, torch.zeros(1, 4)
    )
    found = policy.act(observation, intent, seed=7)
    assert np.allclose(found, wanted[0].numpy(), atol=1e-4)


def test_committed_actions_come_back_as_given(exported):
    policy, observation = runtime.load(exported), some_observation()
    policy.warm_up()
    prefix = np.random.default_rng(0).standard_normal((2, 10)).astype(np.float32)
    intent = policy.intend(observation)
    actions = policy.act(observation, intent, prefix, seed=1)
    assert np.array_equal(actions[:2], prefix)
    assert not np.allclose(actions[2:], policy.act(observation, intent, seed=1)[2:])


def test_the_same_seed_gives_the_same_actions(exported):
    policy, observation = runtime.load(exported), some_observation()
    intent = policy.intend(observation)
    assert np.array_equal(policy.act(observation, intent, seed=3), policy.act(observation, intent, seed=3))


@pytest.mark.parametrize("name", bundle.GRAPHS)
def test_a_truncated_graph_is_refused(copied, name):
    path = copied / name
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ContractError, match="truncated or altered"):
        runtime.load(copied)


def test_a_missing_graph_or_manifest_is_refused(copied):
    (copied / "expert.onnx").unlink()
    with pytest.raises(ContractError, match=r"expert\.onnx is missing"):
        runtime.load(copied)
    (copied / "manifest.json").unlink()
    with pytest.raises(ContractError, match="is no bundle"):
        runtime.load(copied)


def test_a_damaged_manifest_is_refused(copied):
    path = copied / "manifest.json"
    whole = json.loads(path.read_text())
    for broken in ("{", "[]", json.dumps({k: v for k, v in whole.items() if k != "normalizers"})):
        path.write_text(broken)
        with pytest.raises(ContractError, match=r"manifest\.json"):
            runtime.load(copied)
    path.write_text(json.dumps(whole | {"contract": whole["contract"] | {"horizon": 8}}))
    with pytest.raises(ContractError, match="normaliser of actions"):
        runtime.load(copied)


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (["files"], None, "files cannot be None"),
        (["contract"], [1], r"contract cannot be \[1\]"),
        (["version"], "1", "version cannot be '1'"),
        (["prefix_longest"], "x", "prefix_longest cannot be 'x'"),
        (["prefix_longest"], 4, "prefix_longest must be 0 to 3, got 4"),
        (["intent_rate_hz"], 0, "intent_rate_hz must be 0.1 to 100.0, got 0"),
        (["files", "expert.onnx"], 5, "the manifest says 5"),
        (["normalizers", "state"], {"std": [1]}, "normaliser of state is damaged"),
        (["normalizers", "state", "mean"], [float("nan")] * 17, "state needs finite means"),
        (["normalizers", "state", "std"], [0.0] * 17, "state needs finite means and as many positive"),
        (["contract", "image_hw"], [64, 64], r"encoder\.onnx takes .*, its contract wants"),
    ],
)
def test_a_manifest_of_the_wrong_kind_is_refused_before_anything_moves(copied, place, value, why):
    path = copied / "manifest.json"
    inner = whole = json.loads(path.read_text())
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(whole))
    with pytest.raises(ContractError, match=why):
        runtime.load(copied)


def test_graphs_that_take_something_else_are_refused_though_their_checksums_hold(copied):
    path = copied / "manifest.json"
    whole = json.loads(path.read_text())
    shutil.copyfile(copied / "intent.onnx", copied / "expert.onnx")
    path.write_text(
        json.dumps(whole | {"files": whole["files"] | {"expert.onnx": whole["files"]["intent.onnx"]}})
    )
    with pytest.raises(ContractError, match=r"expert\.onnx takes .*'front'"):
        runtime.load(copied)
    (copied / "expert.onnx").write_bytes(b"no graph")
    digest = artefact.file_sha256(copied / "expert.onnx")
    path.write_text(json.dumps(whole | {"files": whole["files"] | {"expert.onnx": digest}}))
    with pytest.raises(ContractError, match=r"expert\.onnx is no graph that runs here"):
        runtime.load(copied)


def test_a_bundle_of_another_contract_is_refused(exported):
    with pytest.raises(ContractError, match=r"robot: 'fr3' != 'panda'; action_rate_hz: 20 != 10"):
        runtime.load(exported, contract=Contract(horizon=4, robot="fr3", action_rate_hz=20))


def test_observations_that_do_not_fit_are_refused(exported):
    policy, good = runtime.load(exported), some_observation()
    small = {c: image[:64] for c, image in good.images.items()}
    with pytest.raises(ContractError, match="front"):
        policy.intend(Observation(1, small, good.state))
    with pytest.raises(ContractError, match="finite"):
        policy.intend(Observation(1, good.images, good.state * np.nan))
    with pytest.raises(ContractError, match="wrist"):
        policy.intend(Observation(1, {"front": good.images["front"]}, good.state))
    with pytest.raises(ContractError, match="prefix"):
        policy.act(good, policy.intend(good), np.zeros((3, 10), np.float32))


def test_unknown_providers_and_engines_are_refused(exported):
    with pytest.raises(ContractError, match="available"):
        runtime.load(exported, providers=["NoSuchProvider"])
    with pytest.raises(ContractError, match="known"):
        export.ExportConfig(engines=("onnx", "nonsense"))


def test_the_robots_path_imports_no_torch(exported):
    lines = [
        "import sys, policies.runtime as r",
        f"r.load({str(exported)!r}).warm_up()",
        "print([m for m in ('torch', 'training', 'policies.nets', 'como_ros') if m in sys.modules])",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
