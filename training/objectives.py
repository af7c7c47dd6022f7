"""What the policy learns: the intent head's and the expert's losses on frozen tokens.

The intent head learns to foresee the latent motion of hands and robots alike and is then frozen, its
hidden states computed once like the encoder's tokens. The expert learns robot chunks and, in the given
share of each batch, the latent motion of pseudo-labelled video through a second head on the same trunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from policies.nets.expert import MOTION, ROBOT, ExpertNet, draw_prefixes, flow_loss
from policies.nets.intent import IntentNet
from policies.spaces import ACTION_DIM, EE_ROT6D, Contract, Normalizer
from training.features import Augmentation
from training.mixture import RobotSet, VideoSet, ahead, fit_actions, fit_motion, gather
from training.optimize import Schedule


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """The policy's size and how it is trained."""

    width: int = 128
    blocks: int = 3
    heads: int = 4
    intent_blocks: int = 2
    intent_heads: int = 4
    robot_images: Augmentation = field(default_factory=lambda: Augmentation(copies=8))
    """Cached copies of robot frames, each frame shifted and recoloured by itself."""
    video_images: Augmentation = field(default_factory=lambda: Augmentation(copies=2))
    """Cached copies of video frames, a clip at a time."""
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
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=4500, batch=64))
    seed: int = 0


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
