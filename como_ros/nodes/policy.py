"""The policy on the wire: newest images and arm state in, timed chunks out, inference in its own thread.

The observation is taken at the capture time of the newest images, the arm's state interpolated to it. One
that is too old is refused with the reason and the arm is told to hold. When inference fails the arm finishes
what is left of its chunk and holds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Transform
from rclpy.node import Node
from trajectory_msgs.msg import (
    JointTrajectory,
    JointTrajectoryPoint,
    MultiDOFJointTrajectory,
    MultiDOFJointTrajectoryPoint,
)

from como_ros import wire
from como_ros.clock import ClockWatch, jumped
from como_ros.control.supervision import POLICY, Licence
from como_ros.drivers.priority import prefer
from como_ros.errors import ComoError, require_between
from como_ros.nodes.health import Health, HealthReporter
from como_ros.nodes.params import declare_config
from como_ros.nodes.process import run_node
from como_ros.nodes.wiring import Refused, publisher, subscription
from policies import runtime
from policies.chunks import ChunkScheduler, ScheduleConfig
from policies.framing import fit
from policies.spaces import (
    ACTION_DIM,
    CAMERAS,
    STATE_DIM,
    ActionChunk,
    Contract,
    Intent,
    Observation,
    image_key,
)
from policies.timeline import Gap, Timeline, observation_at, observation_streams

NICENESS = -5
"""The recorder's, which would otherwise leave it too little of a busy machine: late chunks miss the grasp."""
OLDEST_S = 5.0
"""A policy that acts on older pictures does not see."""
TOPICS_READ = ("/arm/joint_states", "/arm/ee_pose")


@dataclass(frozen=True)
class PolicyConfig:
    bundle: str
    """Folder of the compiled policy."""
    robot: str = "panda"
    """The arm it is to move: panda or fr3."""
    replan_every: int = 4
    intent_rate_hz: float = 5.0
    """How often at most the intent is renewed."""
    image_max_age_s: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        require_between("the policy's intent_rate_hz", self.intent_rate_hz, 0.1, 100)
        require_between("the policy's image_max_age_s", self.image_max_age_s, 0.02, OLDEST_S)
        require_between("the policy's seed", self.seed, 0, 2**53)


class PolicyNode(Node):
    """Callbacks only remember; the worker thread looks, thinks and publishes."""

    def __init__(self) -> None:
        super().__init__("policy")
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="policy", daemon=True)
        self._config = declare_config(self, PolicyConfig)
        self._policy = runtime.load(Path(self._config.bundle))
        contract = self._policy.contract
        _require_made_for(self._config, contract)
        self._policy.warm_up()
        self._timeline = Timeline(observation_streams(contract, self._config.image_max_age_s))
        schedule = ScheduleConfig(self._config.replan_every, self._policy.bundle.prefix_longest)
        self._scheduler = ChunkScheduler(contract, schedule)
        self._newest = dict.fromkeys(contract.cameras, 0)
        self._instruction, self._reason = "", "waiting for the supervisor"
        self._licence, self._turn, self._system_time = Licence(POLICY), 0, ClockWatch()
        self._intent: Intent | None = None
        self._sent: ActionChunk | None = None
        self._chunks = self._refused = self._failed = 0
        self._inference_ms: deque[float] = deque(maxlen=500)
        self._malformed = Refused(self)
        self._chunk_out = publisher(self, "/arm/command/chunk")
        self._width_out = publisher(self, "/gripper/command")
        self._health = HealthReporter(self, self._report)
        self._subscribe()
        self._thread.start()

    def _subscribe(self) -> None:
        for topic in TOPICS_READ:
            subscription(self, topic, self._malformed.guard(topic, partial(self._on_arm, topic)))
        for camera in self._newest:
            topic = f"/{camera}/color/image_raw"
            subscription(self, topic, self._malformed.guard(topic, partial(self._on_image, camera)))
        subscription(self, "/policy/instruction", self._on_instruction)
        subscription(self, "/supervisor/state", self._on_state)

    def _on_arm(self, topic: str, message: Any) -> None:
        self._timeline.push(*wire.decode(topic, message))

    def _on_image(self, camera: str, message: Any) -> None:
        key, stamp_ns, image = wire.decode(f"/{camera}/color/image_raw", message)
        self._timeline.push(key, stamp_ns, fit(image, self._policy.contract.image_hw))
        self._newest[camera] = stamp_ns
        self._wake.set()

    def _on_instruction(self, message: Any) -> None:
        self._instruction, self._intent = message.data, None

    def _on_state(self, message: Any) -> None:
        self._licence.hear(message.data)
        self._wake.set()

    # In the worker thread ------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(0.05)
            self._wake.clear()
            if self._turn != self._licence.changes:  # a person may have driven: nothing is under way
                self._turn, self._sent, self._intent = self._licence.changes, None, None
                self._scheduler.reset()
            if jump_s := self._system_time.jump_s():
                self._licence.suspend(jumped(jump_s))
            if not self._licence.counts:
                self._reason = f"idle: {self._licence.refusal}"
                continue
            try:
                self._step()
            except Exception as error:  # whatever a network raises must leave the arm holding
                self._failed += 1
                self._complain(f"inference failed: {type(error).__name__}: {error}")

    def _step(self) -> None:
        observed_ns = min(self._newest.values())
        age_s = (time.time_ns() - observed_ns) / 1e9
        if age_s > self._config.image_max_age_s:
            self._hold(self._stale(age_s))
            return
        if not self._scheduler.wants(observed_ns):
            return
        found = observation_at(self._timeline, observed_ns, self._instruction)
        if isinstance(found, Gap):
            self._hold(f"no observation: {found.reason}")
            return
        self._infer(found)

    def _infer(self, observation: Observation) -> None:
        begun = time.perf_counter()
        if self._intent is None or self._intent_age_s(observation) > 1 / self._config.intent_rate_hz:
            self._intent = self._policy.intend(observation)
        prefix = self._scheduler.committed(observation)
        actions = self._policy.act(observation, self._intent, prefix, seed=self._config.seed + self._chunks)
        self._inference_ms.append((time.perf_counter() - begun) * 1e3)
        chunk = self._scheduler.accept(observation, actions, time.time_ns())
        if chunk is None:
            self._complain("the chunk came after its last action was due")
        elif self._turn == self._licence.changes:
            self._send(chunk)
            self._chunks, self._reason = self._chunks + 1, "running"

    def _intent_age_s(self, observation: Observation) -> float:
        assert self._intent is not None
        return (observation.stamp_ns - self._intent.stamp_ns) / 1e9

    def _send(self, chunk: ActionChunk) -> None:
        poses = wire.fill_chunk(
            MultiDOFJointTrajectory(), chunk, MultiDOFJointTrajectoryPoint, Transform, Duration
        )
        widths = wire.fill_widths(
            JointTrajectory(), chunk.widths, chunk.stamp_ns, JointTrajectoryPoint, Duration, chunk.period_ns
        )
        self._chunk_out.publish(poses)
        self._width_out.publish(widths)
        self._sent = chunk

    def _hold(self, reason: str) -> None:
        """End the chunk under way at the pose that is due now, once; start afresh when the world is seen."""
        self._refused += 1
        if self._sent is not None:
            now_ns = time.time_ns()
            at = min(int(np.searchsorted(self._sent.due_ns, now_ns)), len(self._sent.poses) - 1)
            self._send(ActionChunk(now_ns, self._sent.poses[at : at + 1], self._sent.widths[at : at + 1]))
        self._sent = None
        self._scheduler.reset()
        self._complain(reason)

    def _stale(self, age_s: float) -> str:
        camera = min(self._newest, key=lambda name: self._newest[name])
        if not self._newest[camera]:
            return f"holding: no image from {camera} yet"
        limit_s = self._config.image_max_age_s
        return f"holding: {image_key(camera)} is {age_s:.2f} s old, the limit is {limit_s:.2f} s"

    def _complain(self, reason: str) -> None:
        told = self._reason.split(":")[0] == reason.split(":")[0]
        self._reason = reason
        if not told:
            self.get_logger().warning(reason)
            self._health.publish()

    def _report(self) -> Health:
        if not self._thread.is_alive():
            raise ComoError("the policy's thread has ended; its traceback is above, start the node again")
        figures: dict[str, Any] = {
            "chunks": self._chunks,
            "refused": self._refused,
            "failed": self._failed,
            "malformed": self._malformed.count,
            "expired": self._scheduler.expired,
            "delay_ms": self._scheduler.delay_ns / 1e6,
        }
        if times := list(self._inference_ms):
            figures["inference_ms_p50"] = float(np.percentile(times, 50))
            figures["inference_ms_p90"] = float(np.percentile(times, 90))
        ok = self._reason == "running" or self._reason.startswith(("idle", "waiting"))
        return Health(self._reason, ok, figures)

    def destroy_node(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)
        super().destroy_node()


def _require_made_for(config: PolicyConfig, contract: Contract) -> None:
    """All that can be known before the first picture; its size is looked at with every observation."""
    known = set(contract.cameras) <= set(CAMERAS)
    offered = replace(
        contract,
        robot=config.robot,
        cameras=contract.cameras if known else CAMERAS,
        state_dim=STATE_DIM,
        action_dim=ACTION_DIM,
    )
    offered.require(contract, f"bundle {config.bundle}")


def main(argv: list[str] | None = None) -> int:
    prefer(NICENESS)
    return run_node(PolicyNode, argv)


if __name__ == "__main__":
    raise SystemExit(main())
