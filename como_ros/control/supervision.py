"""Who may move the arm: the supervisor's states, its stop latch and its watch over the deadman.

    stopped --release--> ready --teleop--> teleop
       ^                   |               |    ^
       |                   |            policy teleop
       |                   |               v    |
       |                   `----policy--> policy
       `---------------stop (from everywhere)

Stop is accepted in every state and latches: motion needs a release and then an arming, in that order.
A person may take over from a running policy and hand back to it; while the person drives, the deadman counts,
and letting go stops. Nothing hands over to a policy but a request.
Times are nanoseconds of any clock that only moves forward.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

STOPPED, READY, TELEOP, POLICY = "stopped", "ready", "teleop", "policy"
STATES = (STOPPED, READY, TELEOP, POLICY)

_ALLOWED_FROM = {
    "stop": STATES,
    "release": (STOPPED,),
    "teleop": (READY, POLICY),
    "policy": (READY, TELEOP),
}
_LEADS_TO = {"stop": STOPPED, "release": READY, "teleop": TELEOP, "policy": POLICY}
REQUESTS = tuple(_ALLOWED_FROM)


def in_words(state: str) -> str:
    """Why an arm holds in a state in which nobody drives it."""
    return f"supervisor is {state}"


@dataclass
class Licence:
    """Whether a driver may command: in its own state, unless it came up in the middle of it.

    A driver that is started again while the supervisor still says its state waits to be armed again.
    """

    own: str
    state: str = ""
    changes: int = 0
    """Of the supervisor's state, as heard so far."""
    bar: str = ""
    """Why its own state does not count, until another has been heard."""

    def hear(self, state: str) -> None:
        """The supervisor's word, over and over."""
        if state != self.state:
            came_late = state == self.own and not self.changes
            self.bar = f"started while the supervisor said {state}" if came_late else ""
            self.changes += 1  # before the state: another thread that sees the new state begins anew
            self.state = state

    @property
    def counts(self) -> bool:
        return self.state == self.own and not self.bar

    def suspend(self, why: str) -> None:
        """Something that a person must look at before this driver is armed again."""
        if self.state == self.own:
            self.bar = why

    @property
    def refusal(self) -> str:
        """Why it may not command."""
        if self.bar:
            return f"{self.bar}; waiting to be armed again"
        return in_words(self.state or "silent")


class RefusedError(ValueError):
    """The request is not allowed in the present state."""


@dataclass(frozen=True)
class Supervision:
    """An immutable state; every event returns the next one."""

    state: str = STOPPED
    reason: str = "started"
    """Why the state was entered."""
    since_ns: int = 0
    deadman_ns: int = 0
    """When the deadman was last seen held."""

    def request(self, name: str, now_ns: int) -> Supervision:
        """Answer an operator's request, or raise `RefusedError` and stay as it was."""
        if self.state not in _ALLOWED_FROM[name]:
            allowed = " or ".join(_ALLOWED_FROM[name])
            raise RefusedError(f"{name} refused: the state is {self.state}, it is allowed from {allowed}")
        return self._enter(_LEADS_TO[name], f"{name} requested", now_ns)

    def deadman(self, held: bool, now_ns: int) -> Supervision:
        """Take note of the operator's hand; letting go while driving stops."""
        if held:
            return replace(self, deadman_ns=now_ns)
        if self.state == TELEOP:
            return self._enter(STOPPED, "deadman released", now_ns)
        return self

    def fault(self, why: str, now_ns: int) -> Supervision:
        """What moves the arm is broken: an armed supervisor stops, and a person has a look."""
        return self._enter(STOPPED, why, now_ns) if self.state in (TELEOP, POLICY) else self

    def tick(self, now_ns: int, deadman_timeout_ns: int) -> Supervision:
        """Stop when the deadman has been silent for too long while driving."""
        silent_ns = now_ns - max(self.deadman_ns, self.since_ns)
        if self.state == TELEOP and silent_ns > deadman_timeout_ns:
            return self._enter(STOPPED, f"deadman silent for {silent_ns / 1e9:.2f} s", now_ns)
        return self

    def _enter(self, state: str, reason: str, now_ns: int) -> Supervision:
        return replace(self, state=state, reason=reason, since_ns=now_ns)
