"""What the arm is told, set-point by set-point: commands in, one safe set-point out at every tick.

Pure: every call is given the time, in nanoseconds of a clock that only moves forward; the caller translates
stamps to it. The arm moves in two states of the supervisor only: `teleop` follows single poses, `policy`
follows chunks. In every other state, and as soon as commands are missing, it brakes and holds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from como_ros.control.grip import WidthQueue
from como_ros.control.interpolation import (
    BlendPath,
    BrakePath,
    ChunkPath,
    HoldPath,
    Path,
    Setpoint,
    blend_seconds,
    unusable,
)
from como_ros.control.joint_room import slow_down
from como_ros.control.limits import RobotLimits
from como_ros.control.mandate import Mandate
from como_ros.control.rotations import of_unit_length
from como_ros.control.servo_config import ServoConfig
from como_ros.control.shield import ShieldConfig, Verdict, guard, into_box
from como_ros.control.supervision import POLICY, TELEOP
from como_ros.control.tracking import Briskness, OperatorPath, Speeds, ease

HOLDING, FOLLOWING = "holding", "following"
WAITING = ("no pose commanded yet", "commands stopped", "no chunk commanded yet", "chunk ran out")
"""Holds of an armed arm whose commands are merely missing; all others but a pause are stops or faults."""


class Servo:
    """Follows the current command, or holds and says why."""

    def __init__(
        self,
        config: ServoConfig,
        shield: ShieldConfig,
        pose7: np.ndarray,
        now_ns: int,
        limits: RobotLimits | None = None,
    ) -> None:
        """`limits` of the joints; without them only the end effector's count."""
        self._config, self._shield, self._limits = config, shield, limits
        self._bending = replace(shield, on_box="clamp", on_speed="clamp", on_jump="clamp")
        """For what brakes: to refuse it would be to stop dead."""
        # a hair below what the shield allows, so that rounding does not look like speeding
        self._fastest = Speeds(0.99 * shield.max_speed_m_s, 0.99 * shield.max_turn_rad_s)
        self._most = Briskness(config.acceleration_m_s2, config.acceleration_rad_s2)
        self.counters: Counter[str] = Counter()
        self.last_refusal = ""
        self.mandate = Mandate(config.heartbeat_late_s, config.heartbeat_timeout_s, config.max_dt_s)
        self._changes = 0
        """Of the mandate, as heeded so far."""
        self.halted = ""
        """The stop or fault that holds the arm, or nothing; the hand must not start anything meanwhile."""
        self.reset(pose7, now_ns)

    @property
    def driver(self) -> str:
        """Whose command the last set-point followed: `policy`, `teleop` for a person, nobody's."""
        if self.activity == HOLDING:
            return ""
        return TELEOP if self._path is self._operator else POLICY

    @property
    def stands(self) -> bool:
        """Whether the last set-point asked for no motion."""
        return not self._last.twist.any()

    def reset(self, pose7: np.ndarray, now_ns: int, rearm: bool = False) -> None:
        """Hold where the arm is now; nothing commanded before counts.

        With `rearm`, after a start, a reconnection or a fault: nothing moves until the supervisor has been
        seen in `stopped` or `ready`.
        """
        self.mandate.begin_anew(rearm)
        self._last, self._last_ns = Setpoint.still(pose7), now_ns
        self._path: Path = HoldPath(pose7)
        self.activity, self.reason = HOLDING, "nothing commanded yet"
        self._forget()

    def _forget(self) -> None:
        self._operator: OperatorPath | None = None
        self._chunk: ChunkPath | None = None
        self._next: ChunkPath | None = None
        self._heard_ns, self._commander_lost = 0, False
        self._widths = WidthQueue()

    # Events --------------------------------------------------------------------------------------

    def supervise(self, state: str, now_ns: int) -> None:
        """The supervisor's word; a change of state drops every command given before."""
        self.mandate.hear(state, now_ns)
        self._heed()

    def _heed(self) -> None:
        if self.mandate.changes != self._changes:
            self._changes = self.mandate.changes
            self._forget()

    def contested(self, topic: str) -> None:
        """Two publishers on a topic: nothing counts until one is gone and a person has armed again."""
        self.raise_alarm("contested", f"two publishers on {topic}; stop one of them and arm again")

    def raise_alarm(self, kind: str, why: str) -> None:
        """Something that a person must look at: hold until the supervisor has stopped and is armed again."""
        if not self.mandate.alarm:
            self.counters[kind] += 1
        self.mandate.bar(why)
        self._forget()

    def command_pose(self, pose7: np.ndarray, stamp_ns: int, now_ns: int) -> str:
        """One pose to be at; returns why it was refused, or nothing."""
        if not self.mandate.allows(TELEOP):
            return ""
        if refusal := self._refusal(Setpoint.still(pose7), stamp_ns, now_ns):
            return refusal
        if self._operator is None or now_ns - self._heard_ns > round(self._config.pose_timeout_s * 1e9):
            self._operator = OperatorPath()
        if stamp_ns <= self._operator.newest_ns:
            return self._refuse("age: the pose is older than the one before; is there a second publisher?")
        self._operator.add(of_unit_length(pose7), stamp_ns, now_ns)
        self._path, self._heard_ns, self.activity = self._operator, now_ns, FOLLOWING
        return ""

    def command_chunk(
        self, due_ns: np.ndarray, poses7: np.ndarray, now_ns: int, stamp_ns: int | None = None
    ) -> str:
        """Timed poses; returns why they were refused, or nothing.

        `stamp_ns` is what its widths are known by; without one, when its first pose is due.
        """
        if not self.mandate.allows(POLICY):
            return ""
        if why := unusable(due_ns, poses7):
            return self._refuse(why)
        if due_ns[-1] < now_ns - round(self._shield.max_age_s * 1e9):
            return self._refuse(f"age: the chunk ended {(now_ns - due_ns[-1]) / 1e9:.2f} s ago")
        path = ChunkPath(due_ns, of_unit_length(poses7))
        if refusal := self._refusal(path.at(max(now_ns, path.start_ns)), path.start_ns, now_ns, aged=False):
            return refusal
        self._next, self._commander_lost = path, False
        self._widths.accept(path.start_ns if stamp_ns is None else stamp_ns)
        return ""

    def command_widths(
        self, due_ns: np.ndarray, widths: np.ndarray, now_ns: int, stamp_ns: int | None = None
    ) -> str:
        """Timed gripper widths, in place of those still to come; a policy's count with their chunk only."""
        if self.mandate.state not in (TELEOP, POLICY) or self.mandate.barred:
            return ""
        if due_ns[-1] < now_ns - 10**9:
            return self._refuse(f"age: the last width was due {(now_ns - due_ns[-1]) / 1e9:.2f} s ago")
        if early := self._too_early(int(due_ns[0]), now_ns):
            return early
        if self.mandate.state == TELEOP:
            self._widths.put(due_ns, widths)
        else:
            self._widths.offer(int(due_ns[0]) if stamp_ns is None else stamp_ns, due_ns, widths)
        return ""

    def commander_lost(self) -> None:
        """Whoever sends chunks is gone: hold now instead of at the end of the chunk."""
        self._commander_lost = True

    def _refuse(self, reason: str) -> str:
        self.counters[f"refused {reason.partition(':')[0]}"] += 1
        self.last_refusal = reason
        return reason

    def _too_early(self, due_ns: int, now_ns: int) -> str:
        if due_ns <= now_ns + round(self._config.max_early_s * 1e9):
            return ""
        return self._refuse(f"age: the command is due in {(due_ns - now_ns) / 1e9:.2f} s")

    def _refusal(self, first: Setpoint, stamp_ns: int, now_ns: int, aged: bool = True) -> str:
        if early := self._too_early(stamp_ns, now_ns):
            return early
        age_s = (now_ns - stamp_ns) / 1e9 if aged else 0.0
        verdict = guard(self._shield, first, self._last, dt_s=1e9, age_s=age_s)
        return self._refuse(verdict.reason) if verdict.refused else ""

    # Ticks ---------------------------------------------------------------------------------------

    def tick(self, now_ns: int, q: np.ndarray | None = None) -> Setpoint:
        """The set-point to send now; `q` are the joints' angles, for their limits."""
        why = self._why_hold(now_ns)
        self.halted = "" if why in (*WAITING, self.mandate.pause) else why
        if why:
            self._hold(why, now_ns)
        dt_s = min(max((now_ns - self._last_ns) / 1e9, 1e-3), self._config.max_dt_s)
        verdict = self._within_joints(self._judge(now_ns, dt_s), q, dt_s)
        if verdict.refused and self.activity == FOLLOWING:
            # what is followed leads where the arm may not go: brake, and wait for the next command
            self._forget()
            self._hold(self._refuse(verdict.reason), now_ns)
            verdict = self._judge(now_ns, dt_s)
        if verdict.reason:
            self.counters[verdict.kind] += 1
        if verdict.reason or self.activity == FOLLOWING:
            self.reason = verdict.reason
        self._last, self._last_ns = verdict.setpoint, now_ns
        return verdict.setpoint

    def _judge(self, now_ns: int, dt_s: float) -> Verdict:
        """Where to be next: inside the box, and on the way no more briskly than the arm can."""
        goal, config, last = self._path.at(now_ns), self._config.tracking, self._last
        if self._path is self._operator:
            target, reason = into_box(self._shield, goal, last)
            if reason and self._shield.on_box == "refuse":
                return Verdict(Setpoint.still(last.pose7), reason, refused=True)
        elif self.activity == HOLDING:
            return guard(self._bending, goal, last, dt_s)
        else:
            verdict = guard(self._shield, goal, last, dt_s)
            if verdict.refused:
                return verdict
            target, reason = into_box(self._shield, goal, last)[0], verdict.reason
        step = ease(config, target, last, dt_s, self._fastest, self._most)
        final = guard(self._shield, step, last, dt_s)
        return Verdict(final.setpoint, reason or final.reason, final.refused)

    def _within_joints(self, verdict: Verdict, q: np.ndarray | None, dt_s: float) -> Verdict:
        """A motion that would ask too much of a joint goes slower; braking goes on as it is."""
        if q is None or self._limits is None or verdict.refused or self.activity == HOLDING:
            return verdict
        slowed, reason = slow_down(self._limits, q, verdict.setpoint, self._last, dt_s, self._most)
        return Verdict(slowed, reason or verdict.reason)

    def width(self, now_ns: int) -> float | None:
        """The gripper width that has become due since the last call; none while holding."""
        return None if self.activity == HOLDING else self._widths.take(now_ns)

    def _why_hold(self, now_ns: int) -> str:
        self.mandate.watch(now_ns)
        self._heed()
        if why := self.mandate.stop:
            return why
        if why := self.mandate.pause:
            self._operator = self._chunk = self._next = None  # the next command goes on, not an old one
            return why
        return self._why_not_driven(now_ns) if self.mandate.state == TELEOP else self._why_no_chunk(now_ns)

    def _why_not_driven(self, now_ns: int) -> str:
        if self._operator is None:
            return "no pose commanded yet"
        if (now_ns - self._heard_ns) / 1e9 > self._config.pose_timeout_s:
            return "commands stopped"
        return ""

    def _why_no_chunk(self, now_ns: int) -> str:
        if self._commander_lost:
            self._forget()
            self._commander_lost = True
            return "commander lost"
        if self._next is not None and now_ns >= self._next.start_ns:
            self._chunk, self._next = self._next, None
            self._follow(self._chunk, now_ns, self._config.blend_s)
        if self._chunk is None:
            return "no chunk commanded yet"
        return "chunk ran out" if now_ns > self._chunk.end_ns else ""

    def _follow(self, path: Path, now_ns: int, shortest_s: float) -> None:
        blend_s = blend_seconds(self._last, path.at(now_ns), shortest_s)
        self._path = BlendPath(self._last, now_ns, path, blend_s)
        self.activity = FOLLOWING

    def _stopping_s(self) -> float:
        """As soon as configured, unless that would brake harder than the arm may."""
        twist, most = self._last.twist, self._most
        return max(
            self._config.stop_s,
            float(np.linalg.norm(twist[:3])) / most.linear_m_s2,
            float(np.linalg.norm(twist[3:])) / most.angular_rad_s2,
        )

    def _hold(self, why: str, now_ns: int) -> None:
        if self.activity == FOLLOWING:
            since_ns = max(self._last_ns, now_ns - round(self._config.max_dt_s * 1e9))
            self._path = BrakePath(self._last, since_ns, self._stopping_s())
            self.counters[f"held: {why}"] += 1
        self.activity, self.reason = HOLDING, why
