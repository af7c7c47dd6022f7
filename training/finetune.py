"""Train the policy on frozen tokens: gate the encoder, then the intent head, then the expert, co-mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from como_ros.errors import ComoError
from policies.nets import artefact
from policies.spaces import Contract, instruction_bytes
from training.episodes import Episode, load_episodes
from training.label import Labels, read_labels
from training.mixture import robot_set, video_set
from training.motion_data import keep_encoder, open_encoder
from training.objectives import ExpertTraining, FinetuneConfig, IntentTraining, Material
from training.optimize import Schedule, fit, identity_of
from training.probe_encoder import probe_encoder, require_useful
from training.videos import Clip, read_clips, refuse_truth

KIND = "policy"
OBSERVATIONS = "observations.npz"

PRESETS = {
    "debug": FinetuneConfig(
        width=20,
        blocks=1,
        heads=5,
        intent_blocks=1,
        intent_schedule=Schedule(steps=2, batch=4),
        schedule=Schedule(steps=2, batch=4),
    ),
    "lab": FinetuneConfig(),
}


def finetune(
    bags: Path,
    labels: Path | None,
    videos: Path | None,
    encoder: Path,
    mix: float,
    preset: FinetuneConfig | str,
    out: Path,
    force: bool = False,
    include_flagged: bool = False,
) -> dict[str, float]:
    """Train a policy on the episodes of `bags` and on labelled clips; `force` skips the encoder's gate.

    Episodes in which the recorder saw a stream fail are learned from only with `include_flagged`.
    """
    refuse_truth(bags, labels, videos, encoder)
    artefact.refuse_another_kind(out, KIND)
    config = PRESETS[preset] if isinstance(preset, str) else preset
    frozen = open_encoder(encoder)
    contract, episodes = load_episodes(bags, include_flagged=include_flagged)
    frozen.contract.require(contract, f"bags {bags}")
    probed = {} if force else probe_encoder(frozen, episodes)
    if not force:
        require_useful(probed)
    found = _labels(labels, frozen.sha256)
    robot = robot_set(episodes, frozen, found["robot"], contract, config.robot_images)
    video = None
    if found["video"] or videos is not None:
        clips = _labelled_clips(videos, labels, found["video"], contract)
        video = video_set(clips, frozen, found["video"], config.video_images)
    keep_encoder(encoder, out)
    keep_observations(episodes, out)
    source = {"bags": str(bags), "videos": str(videos), "labels": str(labels), "encoder": frozen.sha256}
    return train_on(Material.of(robot, video), out, config, contract, mix, {**source, "probe": probed})


def _labelled_clips(
    videos: Path | None, labels: Path | None, found: dict[str, Labels], contract: Contract
) -> list[Clip]:
    """Clips and labels belong together; one without the other is no co-mixing, and is said."""
    if videos is None:
        raise ComoError(f"{labels} holds labels of {len(found)} clips; give these with --videos")
    if not found:
        raise ComoError(
            f"no labels for {videos} are given; make them with `como label`, or leave --videos out"
        )
    clips = read_clips(videos, contract.action_rate_hz, contract.image_hw)[0]
    if not any(clip.name in found for clip in clips):
        raise ComoError(
            f"{labels} holds no label of any clip in {videos}; label these clips with `como label`"
        )
    return clips


def keep_observations(episodes: list[Episode], out: Path, count: int = 8) -> None:
    """A few recorded observations, on which every exported engine must agree with this model."""
    picks = [(episodes[i * len(episodes) // count], i) for i in range(count)]
    ticks = [(e, (2 * i + 1) * len(e) // (2 * count)) for e, i in picks]
    images = {
        f"images/{name}": np.stack([e.images[name][t] for e, t in ticks]) for name in episodes[0].images
    }
    text = np.stack([instruction_bytes(e.instruction) for e, _ in ticks])
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        out / OBSERVATIONS, states=np.stack([e.states[t] for e, t in ticks]), text=text, **images
    )


def _labels(folder: Path | None, encoder_sha256: str) -> dict[str, dict[str, Labels]]:
    if folder is None:
        return {"video": {}, "robot": {}}
    return {part: read_labels(folder, part, encoder_sha256) for part in ("video", "robot")}


def train_on(
    material: Material, out: Path, config: FinetuneConfig, contract: Contract, mix: float, source: dict
) -> dict[str, float]:
    """Intent head, then expert; the averaged weights of both go to `out`."""
    if not 0 <= mix < 1:
        raise ComoError(f"mix must be in [0, 1), got {mix}")
    if mix and material.video is not None and not material.video.labelled.any():
        raise ComoError(
            "every video label failed its confidence gate; train the motion model longer or use mix 0"
        )
    torch.manual_seed(config.seed)
    shared: dict[str, Any] = {"seed": config.seed, "identity": identity_of(config, mix=mix, **source)}
    heads = IntentTraining(config, material)
    learned = bool(heads.parts)
    if learned:
        schedule, resume = config.intent_schedule, out / "intent.resume"
        foreseen = fit(heads, heads.loss, schedule, label="intent", resume=resume, **shared)
        heads.load_state_dict(foreseen.weights)
    heads.net.eval().requires_grad_(False)
    model = ExpertTraining(config, material, heads.net if learned else None, mix, contract)
    result = fit(model, model.loss, config.schedule, label="expert", resume=out / "expert.resume", **shared)
    weights = {f"intent.{k}": v for k, v in heads.net.state_dict().items()}
    weights |= {f"expert.{k.removeprefix('net.')}": v for k, v in result.weights.items()}
    artefact.save(
        out,
        KIND,
        weights,
        config,
        contract,
        normalizers=material.statistics.to_dict(),
        uses_intent=learned,
        mix=mix,
        source=source,
        **result.summary(),
    )
    return result.summary()
