"""Train the policy on frozen tokens: first the intent head, then the flow-matching expert, co-mixed.

The intent head learns to foresee the latent motion of hands and robots alike and is then frozen, its
hidden states computed once like the encoder's tokens. The expert learns robot chunks and, in the given
share of each batch, the latent motion of pseudo-labelled video through a second head on the same trunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from como_ros.errors import ComoError
from policies.nets import artefact
from policies.nets.expert import MOTION, ROBOT, ExpertNet, draw_prefixes, flow_loss
from policies.nets.intent import IntentNet
from policies.spaces import ACTION_DIM, EE_ROT6D, Contract, Normalizer, instruction_bytes
from training.episodes import Episode, load_episodes
from training.label import Labels, read_labels
from training.mixture import (
    RobotSet,
    VideoSet,
    ahead,
    fit_actions,
    fit_motion,
    gather,
    robot_set,
    video_set,
)
from training.motion_data import keep_encoder, open_encoder
from training.optimize import Schedule, fit, identity_of
from training.probe_encoder import probe_encoder, require_useful
from training.videos import read_clips

KIND = "policy"
OBSERVATIONS = "observations.npz"


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """The policy's size and how it is trained."""

    width: int = 160
    blocks: int = 4
    heads: int = 5
    intent_blocks: int = 2
    intent_heads: int = 4
    draws: int = 2
    """Noise draws per observation."""
    prefix_longest: int = 4
    """Most actions given as already committed."""
    prefix_share: float = 0.5
    """Share of the draws that get a committed prefix."""
    state_dropout: float = 0.3
    """Share of observations without their state, against copying it."""
    intent_dropout: float = 0.15
    intent_lag: int = 3
    """Most ticks by which the intent is older than the observation."""
    rotation_weight: float = 0.3
    """Weight of each of the six rotation numbers beside position and width."""
    motion_weight: float = 0.5
    """Weight of the latent-motion loss beside the robot's."""
    intent_schedule: Schedule = field(default_factory=lambda: Schedule(steps=1500, batch=64))
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=8000, batch=64))
    seed: int = 0


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


@dataclass(frozen=True)
class Statistics:
    """Everything that is normalised; travels with the weights."""

    state: Normalizer
    actions: Normalizer
    robot_motion: Normalizer
    video_motion: Normalizer

    def to_dict(self) -> dict[str, dict]:
        return {name: value.to_dict() for name, value in vars(self).items()}


@dataclass(frozen=True)
class Material:
    """What a run trains on."""

    robot: RobotSet
    video: VideoSet | None
    statistics: Statistics

    @classmethod
    def of(cls, robot: RobotSet, video: VideoSet | None) -> Material:
        statistics = Statistics(
            state=Normalizer.fit(robot.states, floor=1e-2),
            actions=fit_actions(robot.actions),
            robot_motion=fit_motion(robot),
            video_motion=fit_motion(video or robot),
        )
        return cls(robot, video, statistics)


class IntentTraining(nn.Module):
    """The intent head on every trusted label, hands and robots in equal parts."""

    def __init__(self, config: FinetuneConfig, material: Material):
        super().__init__()
        self.net, self.batch = (
            IntentNet(config.intent_blocks, config.intent_heads),
            config.intent_schedule.batch,
        )
        statistics = material.statistics
        parts = [(material.robot, statistics.robot_motion), (material.video, statistics.video_motion)]
        self.parts = [
            (part, np.flatnonzero(part.labelled), torch.from_numpy(normal.normalize(part.motion)))
            for part, normal in parts
            if part is not None and part.labelled.any()
        ]

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        front, text, wanted = [], [], []
        each = -(-self.batch // len(self.parts))
        for part, rows, motion in self.parts:
            chosen = rows[torch.randint(0, len(rows), (each,), generator=generator).numpy()]
            copies = torch.randint(0, len(part.front), (each,), generator=generator)
            front.append(gather(part.front, chosen, copies))
            text.append(torch.from_numpy(part.text[chosen]))
            wanted.append(motion[chosen])
        with torch.autocast("cpu", torch.bfloat16):
            _, foreseen = self.net(torch.cat(front), torch.cat(text))
        return nn.functional.smooth_l1_loss(foreseen.float(), torch.cat(wanted))


def intents_of(net: IntentNet, part: RobotSet | VideoSet) -> torch.Tensor:
    """(copies, N, K, 128): the frozen intent of every cached frame."""
    out = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for tokens in part.front:
            runs = [slice(i, i + 128) for i in range(0, len(tokens), 128)]
            pairs = [(tokens[r].astype(np.float32), part.text[r]) for r in runs]
            hidden = [net(torch.from_numpy(a), torch.from_numpy(b))[0] for a, b in pairs]
            out.append(torch.cat(hidden).float())
    return torch.stack(out)


class ExpertTraining(nn.Module):
    """The expert on batches of robot chunks and latent motion."""

    def __init__(
        self,
        config: FinetuneConfig,
        material: Material,
        intent: IntentNet | None,
        mix: float,
        contract: Contract,
    ):
        super().__init__()
        self.config, self.material, self.horizon = config, material, contract.horizon
        self.net = ExpertNet(
            contract.horizon, config.width, config.blocks, config.heads, len(contract.cameras)
        )
        self.videos = round(config.schedule.batch * mix) if material.video is not None else 0
        statistics, robot = material.statistics, material.robot
        self.states = torch.from_numpy(statistics.state.normalize(robot.states))
        self.actions = torch.from_numpy(statistics.actions.normalize(robot.actions))
        self.robot_intents = intents_of(intent, robot) if intent else None
        if self.videos and material.video is not None and intent is not None:
            self.video_rows = np.flatnonzero(material.video.labelled)
            self.video_motion = torch.from_numpy(statistics.video_motion.normalize(material.video.motion))
            self.video_intents = intents_of(intent, material.video)
        self.weights = torch.ones(ACTION_DIM)
        self.weights[EE_ROT6D] = config.rotation_weight

    def loss(self, generator: torch.Generator) -> torch.Tensor:
        loss = self._robot_loss(self.config.schedule.batch - self.videos, generator)
        if self.videos:
            loss = loss + self.config.motion_weight * self._motion_loss(self.videos, generator)
        return loss

    def _robot_loss(self, count: int, generator: torch.Generator) -> torch.Tensor:
        config, robot = self.config, self.material.robot
        rows = torch.randint(0, len(self.states), (count,), generator=generator)
        copies = torch.randint(0, len(robot.front), (count,), generator=generator)
        front, wrist = gather(robot.front, rows.numpy(), copies), gather(robot.wrist, rows.numpy(), copies)
        keep_state = torch.rand(count, 1, 1, generator=generator) >= config.state_dropout
        keep_intent = torch.rand(count, 1, 1, generator=generator) >= config.intent_dropout
        if self.robot_intents is None:
            intent, keep_intent = torch.zeros(count, 4, front.shape[-1]), torch.zeros_like(keep_intent)
        else:
            lag = torch.randint(0, config.intent_lag + 1, (count,), generator=generator).numpy()
            starts = np.searchsorted(robot.groups, robot.groups[rows.numpy()])
            intent = self.robot_intents[copies, torch.from_numpy(np.maximum(rows.numpy() - lag, starts))]
        clean = draw_prefixes(
            count, config.draws, self.horizon, config.prefix_longest, config.prefix_share, generator
        )
        with torch.autocast("cpu", torch.bfloat16):
            context = self.net.context(front, wrist, intent, self.states[rows], keep_intent, keep_state)
            return flow_loss(self.net, ROBOT, self.actions[rows], clean, context, self.weights, generator)

    def _motion_loss(self, count: int, generator: torch.Generator) -> torch.Tensor:
        video = self.material.video
        assert video is not None
        rows = self.video_rows[torch.randint(0, len(self.video_rows), (count,), generator=generator).numpy()]
        copies = torch.randint(0, len(video.front), (count,), generator=generator)
        following = ahead(video.groups, rows, self.horizon)
        trusted = torch.from_numpy(video.labelled[following])[:, None, :, None].float()
        clean = torch.zeros(count, self.config.draws, self.horizon, dtype=torch.bool)
        with torch.autocast("cpu", torch.bfloat16):
            front = gather(video.front, rows, copies)
            context = self.net.context(front, None, self.video_intents[copies, torch.from_numpy(rows)], None)
            return flow_loss(
                self.net, MOTION, self.video_motion[following], clean, context, trusted, generator
            )


def finetune(
    bags: Path,
    labels: Path | None,
    videos: Path | None,
    encoder: Path,
    mix: float,
    preset: FinetuneConfig | str,
    out: Path,
    force: bool = False,
) -> dict[str, float]:
    """Train a policy on the episodes of `bags` and on labelled clips; `force` skips the encoder's gate."""
    config = PRESETS[preset] if isinstance(preset, str) else preset
    frozen = open_encoder(encoder)
    contract, episodes = load_episodes(bags)
    frozen.contract.require(contract, f"bags {bags}")
    probed = {} if force else probe_encoder(frozen, episodes)
    if not force:
        require_useful(probed)
    found = _labels(labels, frozen.sha256)
    robot = robot_set(episodes, frozen, found["robot"], contract)
    video = None
    if found["video"] and videos is not None:
        clips = read_clips(videos, contract.action_rate_hz, contract.image_hw)[0]
        video = video_set(clips, frozen, found["video"])
    keep_encoder(encoder, out)
    keep_observations(episodes, out)
    source = {"bags": str(bags), "videos": str(videos), "labels": str(labels), "encoder": frozen.sha256}
    return train_on(Material.of(robot, video), out, config, contract, mix, {**source, "probe": probed})


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
    identity = identity_of(config, mix=mix, **source)
    heads = IntentTraining(config, material)
    learned = bool(heads.parts)
    if learned:
        foreseen = fit(
            heads,
            heads.loss,
            config.intent_schedule,
            label="intent",
            resume=out / "intent.resume",
            seed=config.seed,
            identity=identity,
        )
        heads.load_state_dict(foreseen.weights)
    heads.net.eval().requires_grad_(False)
    model = ExpertTraining(config, material, heads.net if learned else None, mix, contract)
    result = fit(
        model,
        model.loss,
        config.schedule,
        label="expert",
        resume=out / "expert.resume",
        seed=config.seed,
        identity=identity,
    )
    weights = {f"intent.{k}": v for k, v in heads.net.state_dict().items()}
    weights |= {f"expert.{k.removeprefix('net.')}": v for k, v in result.weights.items()}
    sums = {"steps": result.steps, "samples_per_s": result.samples_per_s, "final_loss": result.final_loss}
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
        **sums,
    )
    return sums
