"""Whether commands count: the supervisor's word, its heartbeat, and what a person must look at first. Pure.

Two silences of the supervisor are told apart. One that is short holds the arm, and the next command after it
goes on: on a busy machine the supervisor may merely have come late. One that is long counts as its death, and
the arm must be armed anew. Time through which the listener itself slept is no silence.
Arming is an edge: after a fault, a reconnection or a silent supervisor, `teleop` and `policy` count only once
`stopped` or `ready` has been seen. A deactivated arm hears nobody; activated again, it must be armed
anew like any other.
"""

from __future__ import annotations

from como_ros.control.supervision import POLICY, READY, STOPPED, TELEOP, in_words

LATE = "supervisor late"
INACTIVE = "the arm is inactive; activate its node, then arm again"


class Mandate:
    """The supervisor's word as far as it counts; `watch` in every round, on a clock that never jumps."""

    def __init__(self, late_s: float, timeout_s: float, longest_round_s: float) -> None:
        self._late_ns, self._timeout_ns, self._round_ns = (
            round(seconds * 1e9) for seconds in (late_s, timeout_s, longest_round_s)
        )
        self.state = ""
        """Empty when the supervisor has fallen silent."""
        self.late = False
        """Whether a heartbeat is overdue."""
        self.released = False
        """Whether the supervisor went from `stopped` to `ready` last: a person has looked."""
        self.changes = 0
        """How often the state has changed, the supervisor's death among them."""
        self.alarm = ""
        """What a person must look at before the arm is armed again, or nothing."""
        self.alarms, self.last_alarm = 0, ""
        """So many so far; while nobody drives, the next heartbeat ends one."""
        self.hindrance = ""
        """Why the arm cannot follow for the moment, or nothing; whoever drives the arm says so."""
        self.barred = False
        """Whether `teleop` and `policy` wait to be armed again."""
        self.inactive = False
        """Whether nobody is heard."""
        self.longest_silence_ns = 0
        """Between two words of the supervisor."""
        self._heard_ns = self._watched_ns = -(10**18)

    def hear(self, state: str, now_ns: int) -> None:
        """The supervisor's word."""
        self.watch(now_ns)
        if self.inactive:
            return
        if self.state:
            self.longest_silence_ns = max(self.longest_silence_ns, now_ns - self._heard_ns)
        self._heard_ns, self.late = now_ns, False
        if state in (STOPPED, READY):
            self.barred, self.alarm = False, ""
        if state != self.state:
            self.released = (self.state, state) == (STOPPED, READY)
            self.state, self.changes = state, self.changes + 1

    def watch(self, now_ns: int) -> None:
        """Whether the heartbeat still comes."""
        self._heard_ns += max(0, now_ns - self._watched_ns - self._round_ns)
        self._watched_ns = now_ns
        silent_ns = now_ns - self._heard_ns
        if self.state and silent_ns > self._timeout_ns:
            self._lose()
        self.late = bool(self.state) and silent_ns > self._late_ns

    def _lose(self) -> None:
        self.state, self.barred, self.released = "", True, False
        self.changes += 1

    def activate(self, active: bool) -> None:
        """Hear the supervisor, or nobody: then as if it had died."""
        self.inactive = not active
        if self.inactive:
            self._lose()
            self.late = False

    def bar(self, why: str) -> None:
        """An alarm: wait until the supervisor has stopped and somebody arms again."""
        self.alarms += not self.alarm
        self.barred, self.alarm, self.last_alarm = True, why, why

    def begin_anew(self, rearm: bool) -> None:
        """After a start, a reconnection or a fault; `rearm` unless the arm was never out of control."""
        self.barred = (rearm or self.barred) and self.state not in (STOPPED, READY)

    @property
    def unheard(self) -> str:
        """Armed, says the supervisor, and not here: it must be told, or a run goes on that does not move."""
        if self.inactive:
            return INACTIVE
        return "waiting to be armed again" if self.barred and self.state in (TELEOP, POLICY) else ""

    @property
    def stop(self) -> str:
        """Why no command counts until somebody has acted, or nothing."""
        if self.inactive:
            return INACTIVE
        if self.alarm:
            return self.alarm
        if not self.state:
            return "supervisor silent"
        if self.barred:
            return "waiting to be armed again"
        return "" if self.state in (TELEOP, POLICY) else in_words(self.state)

    @property
    def pause(self) -> str:
        """Why no command counts just now, or nothing."""
        return LATE if self.late else self.hindrance

    def allows(self, state: str) -> bool:
        """Whether commands of the driver in this state count now."""
        return self.state == state and not self.stop and not self.pause
