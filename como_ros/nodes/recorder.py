"""Records every topic of the wire, as raw bytes, into one bag an episode.

Services /recorder/start, keep and discard; /recorder/state says `idle`, `recording NAME` or
`failed: WHY`. Rates, gaps and drops of every stream stand in /diagnostics while the episode runs; one that is
silent, late, slow or lossy is named there at once and flags the episode.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from como_ros import wire
from como_ros.bag_writer import INTERRUPTED, BagError, git_hash
from como_ros.drivers.priority import prefer
from como_ros.errors import require_between
from como_ros.lab.client import LabClient
from como_ros.nodes.answering import Repeats
from como_ros.nodes.health import Health, HealthReporter
from como_ros.nodes.pacing import PacedExecutor
from como_ros.nodes.params import declare_config
from como_ros.nodes.process import run_node
from como_ros.nodes.wiring import every, message_class, profile, publisher, trigger
from como_ros.recording import COLOUR_KEYS, EpisodeShelf, Recording
from como_ros.stream_watch import Numbering, StreamWatch
from policies.spaces import Contract

DEPTH = 100
"""Messages a topic may have waiting while this process is held up."""
WATCH_S = 0.1
"""Between two looks at the streams."""
NICENESS = -5
"""What is late to be recorded waits in memory, and is lost with this process."""
KEPT_AS = {"keep": "kept", "keep_success": "success", "keep_failure": "failure"}
"""Services that end an episode and the outcome they give it; a failure is kept but not learned from."""
LATCHED = {name for name, topic in wire.TOPICS.items() if topic.qos == "state"}


@dataclass(frozen=True)
class RecorderConfig:
    out: str = "out/episodes"
    """Folder that takes the episodes."""
    task: str = ""
    spread: str = ""
    """In the lab, what its layouts are drawn from."""
    robot: str = "panda"
    calibration: str = ""
    """File of the station's calibration; its text is embedded in every episode."""
    lab_control: str = ""
    """In the lab, its control socket: it says which seed the things lie by."""
    compressed: bool = False
    """Colour pictures as JPEG, which the camera node packs while somebody asks: less room, other pixels."""
    queue_mb: int = 256
    """Memory for messages that wait for the disk; beyond it they are dropped and counted."""
    min_free_gb: float = 1.0
    """No episode is begun with less room on the disk."""

    def __post_init__(self) -> None:
        require_between("the recorder's queue_mb", self.queue_mb, 1, 100_000)
        require_between("the recorder's min_free_gb", self.min_free_gb, 0, 100_000)

    @property
    def queue_bytes(self) -> int:
        return self.queue_mb * 1_000_000


class RecorderNode(Node):
    """Thin shell around `Recording`: callbacks queue bytes, the writer thread does the rest."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self._config = declare_config(self, RecorderConfig)
        self._calibration = _text_of(self._config.calibration)
        git_hash()  # takes a process of its own; later nobody need wait for it
        self._shelf = EpisodeShelf(Path(self._config.out), self._config.min_free_gb)
        self._recording: Recording | None = None
        self._failure = ""
        self._repeats = Repeats(self._under_way)
        self._latest: dict[str, bytes] = {}
        self._heard: dict[str, Any] = {}
        self._numbering: dict[str, Numbering] = {}
        self._watch = StreamWatch(Contract(robot=self._config.robot))
        self._complaints: tuple[str, ...] = ()
        self._state = publisher(self, "/recorder/state")
        self._health = HealthReporter(self, self._report)
        for name, topic in wire.TOPICS.items():
            packed = self._config.compressed and topic.key in COLOUR_KEYS
            self._listen(name + wire.COMPRESSED if packed else name)
        self._offer("start", self._start)
        for name, outcome in KEPT_AS.items():
            self._offer(name, partial(self._keep, outcome))
        self._offer("discard", self._discard)
        every(self, 1.0, self._publish_state)
        every(self, WATCH_S, self._look)
        self._publish_state()

    def destroy_node(self) -> None:
        """SIGTERM or SIGINT ends here, with ROS already shut down: close what is open."""
        try:
            if self._recording is not None:
                self._end(INTERRUPTED)
        except BagError as error:
            self.get_logger().error(str(error))
        finally:
            super().destroy_node()

    # Messages

    def _listen(self, topic: str) -> None:
        table = profile(topic)
        qos = QoSProfile(depth=DEPTH, reliability=table.reliability, durability=table.durability)
        events = SubscriptionEventCallbacks(message_lost=partial(self._on_lost, topic))
        if wire.topic(topic).qos in ("sensor", "stream"):
            self._numbering[topic] = Numbering()
        self._heard[topic] = self.create_subscription(
            message_class(topic),
            topic,
            partial(self._on_message, topic),
            qos,
            raw=True,
            event_callbacks=events,
        )

    def _on_message(self, topic: str, cdr: bytes, info: Any) -> None:
        """This one and those that wait behind it: waking up for each would cost more than writing it."""
        self._take(topic, cdr, info)
        heard = self._heard[topic]
        for _ in range(DEPTH):
            if (waiting := heard.handle.take_message(heard.msg_type, True)) is None:
                return
            self._take(topic, *waiting)

    def _take(self, topic: str, cdr: bytes, info: Any) -> None:
        if topic in LATCHED:
            self._latest[topic] = cdr
        missing = self._missing(topic, info)
        if self._recording is not None:
            arrived_ns, now_s = info["received_timestamp"] or time.time_ns(), time.monotonic()
            self._watch.note(topic, now_s, arrived_ns, cdr)
            if missing:
                self._lose(topic, missing)
            if not self._recording.put(topic, arrived_ns, cdr):
                self._watch.lose(topic, 1, now_s)
        else:
            self._watch.hear(topic)

    def _missing(self, topic: str, info: Any) -> int:
        """Lost before this one, by number; that a full queue was overwritten nobody else tells."""
        number, numbering = info["publication_sequence_number"], self._numbering.get(topic)
        if number is None or numbering is None:
            return 0
        return numbering.missing(info["publisher_gid"]["data"], number)

    def _on_lost(self, topic: str, event: Any) -> None:
        if topic not in self._numbering:
            self._lose(topic, event.total_count_change)

    def _lose(self, topic: str, count: int) -> None:
        if self._recording is not None:
            self._recording.lose(topic, count)
            self._watch.lose(topic, count, time.monotonic())

    def _look(self) -> None:
        """At every stream; a change for the worse or the better is told at once."""
        if self._recording is None:
            return
        before, self._complaints = self._complaints, self._watch.check(time.monotonic())
        self._recording.flag(self._watch.flags)
        if len(before) != len(self._complaints):
            self._health.publish()

    # Episodes

    def _offer(self, name: str, act: Callable[[], str]) -> None:
        def answer() -> str:
            try:
                return self._repeats.answer(name, act)
            finally:
                self._publish_state()

        trigger(self, f"/recorder/{name}", answer)

    def _under_way(self) -> object:
        """What is being recorded, or nothing; one that has failed is never the same."""
        return object() if self._recording is not None and self._recording.error else self._recording

    def _start(self) -> str:
        if self._recording is not None and not self._given_up():
            raise BagError(f"{self._recording.folder.name} is being recorded; keep or discard it first")
        self._failure = ""
        self._recording = Recording(
            self._shelf.next_folder(),
            Contract(robot=self._config.robot),
            self._config.queue_bytes,
            task=self._config.task,
            spread=self._config.spread,
            calibration=self._calibration,
            **_seed(self._config.lab_control),
        )
        self._watch.begin(time.monotonic(), [name for name in wire.TOPICS if self.count_publishers(name)])
        self._complaints = ()
        for topic in LATCHED & set(self._latest):
            self._recording.put(topic, time.time_ns(), self._latest[topic])
        return f"recording {self._recording.folder}"

    def _keep(self, outcome: str) -> str:
        flags = self._watch.flags
        return f"kept {self._end(outcome)}" + (f", flagged: {'; '.join(flags)}" if flags else "")

    def _discard(self) -> str:
        return f"moved to {self._shelf.discard(self._given_up() or self._end('discarded'))}"

    def _given_up(self) -> Path | None:
        """An episode whose writer has failed is over: it stands in nobody's way."""
        recording = self._recording
        if recording is None or not recording.error:
            return None
        self._recording = None
        return recording.folder

    def _end(self, outcome: str) -> Path:
        recording, self._recording = self._recording, None
        if recording is None:
            raise BagError("no episode is being recorded; call /recorder/start first")
        recording.flag(self._watch.flags)
        try:
            recording.close(outcome)
        except BagError as error:
            self._failure = str(error)
            raise
        for flag in self._watch.flags:
            self.get_logger().warning(f"{recording.folder.name}: {flag}")
        return recording.folder

    # Reports

    def _status(self) -> str:
        if self._recording is None:
            return f"failed: {self._failure}" if self._failure else "idle"
        if self._recording.error:
            return f"failed: {self._recording.error}"
        return f"recording {self._recording.folder.name}"

    def _publish_state(self) -> None:
        self._state.publish(String(data=self._status()))

    def _report(self) -> Health:
        recording = self._recording
        if recording is None:
            return Health(self._status(), ok=not self._failure)
        complaints = [*self._complaints, *recording.complaints]
        figures = {
            "seconds": time.monotonic() - recording.begun_s,
            "messages": recording.received.total(),
            "drops": recording.drops.total(),
            "queued_mb": recording.queued_bytes / 1e6,
            "queued_peak_mb": recording.peak_bytes / 1e6,
            "behind_s": recording.behind_s,
            "written_mb": recording.written_bytes / 1e6,
            "flags": "; ".join(self._watch.flags),
            **self._watch.figures(time.monotonic()),
        }
        return Health(
            "; ".join((self._status(), *complaints)), not complaints and not recording.error, figures
        )


def _seed(control: str) -> dict[str, str]:
    """What the lab's things lie by; nothing on a robot."""
    if not control:
        return {}
    with closing(LabClient(control)) as lab:
        return {"seed": str(lab.status()["seed"])}


def _text_of(file: str) -> str:
    """The file's text, or nothing where none is named."""
    try:
        return Path(file).read_text("utf8") if file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise BagError(f"calibration {file} cannot be read ({error}); give another file") from error


def main(argv: list[str] | None = None) -> int:
    prefer(NICENESS)
    return run_node(RecorderNode, argv, PacedExecutor)


if __name__ == "__main__":
    raise SystemExit(main())
