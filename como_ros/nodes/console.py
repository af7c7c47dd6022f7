"""The operator's page in a browser: cameras, the arm, the plan, episodes, health, stop; and a hand there.

A device that lives in the browser, or that needs the browser's deadman, is driven from this process by the
teleop node itself: when the process dies, nobody holds the deadman any more.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.task import Future
from std_msgs.msg import String

from como_ros import wire
from como_ros.console.gate import TOKEN_VARIABLE, Gate, is_loopback
from como_ros.console.hand import PageHand, WithDeadman
from como_ros.console.page import Orders, Page
from como_ros.console.scene import HOST, Scene
from como_ros.console.shelf import EpisodeList, jpeg
from como_ros.console.view import Lights, Words, too_long
from como_ros.control.supervision import TELEOP
from como_ros.drivers.priority import run_before_others
from como_ros.drivers.teleop import IN_CONSOLE, SERVICES, Hand
from como_ros.drivers.teleop_guiding import GuidingHand
from como_ros.drivers.teleop_hand import HandDevice
from como_ros.errors import ComoError
from como_ros.nodes.asking import Asking
from como_ros.nodes.health import Health, HealthReporter
from como_ros.nodes.lean_executor import LeanExecutor
from como_ros.nodes.pacing import PacedExecutor
from como_ros.nodes.params import declare_config
from como_ros.nodes.process import run_node, spin
from como_ros.nodes.teleop import PRIORITY, TeleopNode
from como_ros.nodes.wiring import Newest, Refused, every, message_class, publisher, subscription
from policies.spaces import CAMERAS

BUTTONS = SERVICES | {"policy": "/supervisor/policy", "recover": "/arm/recover"}
NOT_PRESSED = {"drive", "guide"}
"""The deadman asks for them."""
PICTURE_S, ARM_S, STATE_S = 0.1, 0.1, 0.2
PLAN_S = 1.0
"""A plan older than this has been followed."""


@dataclass(frozen=True)
class ConsoleConfig:
    host: str = "127.0.0.1"
    """Another address than loopback needs a token in COMO_CONSOLE_TOKEN."""
    port: int = 8080
    out: str = "out/episodes"
    """Folder that takes the episodes, for the list and for what the disk has left."""
    device: str = ""
    """Driven from here: gizmo, keyboard, gello or guiding; empty to watch only."""
    leader_port: str = ""
    """Serial port of the leader arm, for gello."""
    leader_calibration: str = "gello.json"


class ConsoleNode(Node):
    """Listens, calls, and hands over to the page and to the 3-D view."""

    def __init__(self) -> None:
        super().__init__("console")
        self._config = config = declare_config(self, ConsoleConfig)
        if config.device and config.device not in IN_CONSOLE:
            known = ", ".join(IN_CONSOLE)
            raise ComoError(f"no device named {config.device!r} is driven from the console; known: {known}")
        secret = secrets.token_urlsafe(32)
        self._hand = PageHand(lambda: self._scene.gizmo7)
        self._scene = Scene(secret, config.device == "gizmo", self._hand.may_pull)
        self._words, self._lights = Words(Path(config.out)), Lights()
        self._shelf = EpisodeList(Path(config.out), lambda: self._lights.said("recorder"))
        self._asking = Asking(self, BUTTONS, self._tell)
        orders = Orders(self._asking.ask, self._say)
        self._page = Page(self._hand, orders, frozenset(BUTTONS.keys() - NOT_PRESSED))
        self._arm: tuple[np.ndarray, float] | None = None
        self._ee_pose7: np.ndarray | None = None
        self._plan_s, self._plan = 0.0, np.empty((0, 7))
        self._encoded_s = dict.fromkeys(CAMERAS, 0.0)
        self._state = ""
        self._told: dict[str, Any] = {"n": time.time_ns() // 1_000_000, "text": "", "ok": True}
        """By a number that no console before this one has used."""
        self._refused = Refused(self)
        self._listen()
        self._instruction = publisher(self, "/policy/instruction")
        self._ending = Future[None]()
        self._driver = self._drive() if config.device else None
        self._serve(secret)
        HealthReporter(self, self._report)
        every(self, ARM_S, self._show_arm)
        every(self, STATE_S, self._show_state)

    # Listening ---------------------------------------------------------------------------------------

    def _listen(self) -> None:
        shown = (("/arm/joint_states", self._on_joints), ("/arm/ee_pose", self._on_pose))
        self._newest = [Newest(self, topic, self._refused.guard(topic, act)) for topic, act in shown]
        for topic, act in (
            ("/arm/command/chunk", self._on_chunk),
            ("/policy/instruction", self._on_instruction),
            ("/supervisor/state", self._on_state),
            ("/diagnostics", self._on_diagnostics),
        ):
            subscription(self, topic, self._refused.guard(topic, act))
        for index, camera in enumerate(CAMERAS):
            topic = f"/{camera}/color/image_raw"
            act = partial(self._on_image, index, camera, message_class(topic))
            subscription(self, topic, self._refused.guard(topic, act), raw=True)

    def _on_joints(self, message: Any) -> None:
        self._arm = wire.joints_from_msg(message)

    def _on_pose(self, message: Any) -> None:
        self._ee_pose7 = wire.pose7_from_msg(message)

    def _on_chunk(self, message: Any) -> None:
        self._plan, self._plan_s = wire.chunk_from_msgs(message)[2], time.monotonic()
        if self._scene.watched:
            self._scene.show_plan(self._plan)

    def _on_instruction(self, message: Any) -> None:
        self._words.now = message.data

    def _on_state(self, message: Any) -> None:
        self._state = message.data

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            figures = {pair.key: pair.value for pair in status.values}
            self._lights.note(status.name, status.level == b"\x00", status.message, figures, time.monotonic())

    def _on_image(self, index: int, camera: str, kind: Any, cdr: bytes) -> None:
        """Decoded only where somebody looks, and not more often than is shown."""
        now_s = time.monotonic()
        self._lights.picture(camera, now_s)
        if self._page.watchers and now_s - self._encoded_s[camera] > PICTURE_S:
            self._encoded_s[camera] = now_s
            self._page.pictures[index] = jpeg(wire.image_from_msg(deserialize_message(cdr, kind)))

    # Showing -----------------------------------------------------------------------------------------

    def _show_arm(self) -> None:
        if not self._scene.watched:
            return
        for topic in self._newest:
            topic.hear()
        if self._arm is None or self._ee_pose7 is None:
            return
        self._scene.show_arm(*self._arm)
        if self._state != TELEOP or not self._hand.pulls:
            self._scene.place_gizmo(self._ee_pose7)
        if self._plan_s and time.monotonic() - self._plan_s > PLAN_S:
            self._plan_s = 0.0
            self._scene.show_plan(np.empty((0, 7)))

    def _show_state(self) -> None:
        if not self._page.watchers:
            self._page.forget()
            return
        now_s = time.monotonic()
        self._page.state = json.dumps(
            {
                "supervisor": self._state,
                "why": self._lights.said("supervisor"),
                "recorder": self._lights.said("recorder"),
                "seconds": self._lights.figure("recorder", "seconds"),
                "device": self._config.device,
                "holder": self._hand.holder,
                "lights": self._lights.rows(now_s),
                "disk_gb": self._disk_gb(),
                "instruction": self._words.now,
                "history": self._words.history,
                "episodes": self._shelf.rows,
                "told": self._told,
            }
        )

    def _disk_gb(self) -> float | None:
        """Left where the episodes go, as far as that can be told; the folder itself may not be there yet."""
        folder = Path(self._config.out).absolute()
        try:
            there = next(path for path in (folder, *folder.parents) if path.exists())
            return shutil.disk_usage(there).free / 1e9
        except OSError:
            return None

    def _report(self) -> Health:
        figures = {"watchers": self._page.watchers, "refused": self._gate.refused}
        return Health(f"at {self._url}", figures=figures)

    # Orders from the page ----------------------------------------------------------------------------

    def _tell(self, text: str, ok: bool) -> None:
        self._told = {"n": self._told["n"] + 1, "text": text, "ok": ok}
        if not ok:
            self.get_logger().warning(text)

    def _say(self, instruction: str) -> None:
        if instruction:
            self._instruction.publish(String(data=instruction))
            self._words.say(instruction)
            self._tell(f"said: {instruction}{too_long(instruction)}", ok=True)

    # The browser's hand ------------------------------------------------------------------------------

    def _drive(self) -> tuple[TeleopNode, threading.Thread]:
        """The teleop node in a thread of its own: a slow picture does not delay the deadman."""
        node = TeleopNode(HandDevice(self._open_hand))
        executor = LeanExecutor()
        executor.add_node(node)
        ends = (executor, self._ending)
        thread = threading.Thread(target=_spin_before_others, args=ends, name="teleop", daemon=True)
        thread.start()
        return node, thread

    def _open_hand(self) -> Hand:
        if self._config.device == "guiding":
            return GuidingHand(self._hand)
        if self._config.device != "gello":
            return self._hand
        from como_ros.drivers.teleop_leader import Leader, load

        calibration = load(Path(self._config.leader_calibration))
        return WithDeadman(Leader(self._config.leader_port, calibration), self._hand)

    # The web -----------------------------------------------------------------------------------------

    def _serve(self, secret: str) -> None:
        """Page and gate in one thread; what cannot listen is said before anything else goes on."""
        config = self._config
        self._folder = tempfile.TemporaryDirectory(prefix="como_console_")
        socket, token = str(Path(self._folder.name) / "page"), os.environ.get(TOKEN_VARIABLE, "")
        self._gate = Gate(token, secret, (HOST, self._scene.port), socket, self._log_refusal)
        self._web = asyncio.new_event_loop()
        threading.Thread(target=self._web.run_forever, name="web", daemon=True).start()
        self._run(self._page.listen(socket))
        server = self._run(self._gate.listen(config.host, config.port))
        port = server.sockets[0].getsockname()[1]
        shown = "127.0.0.1" if is_loopback(config.host) else config.host
        self._url = f"http://{shown}:{port}/"
        self.get_logger().info(f"console at {self._url}")

    def _log_refusal(self, text: str) -> None:
        self.get_logger().warning(text)

    def _run(self, task: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(task, self._web).result(10)

    def destroy_node(self) -> None:
        self._hand.let_go()
        self._web.call_soon_threadsafe(self._web.stop)
        if self._driver is not None:
            node, thread = self._driver
            self._ending.set_result(None)
            thread.join(timeout=5)
            node.destroy_node()
        self._shelf.close()
        self._scene.close()
        self._folder.cleanup()
        super().destroy_node()


def _spin_before_others(executor: LeanExecutor, ending: Future[None]) -> None:
    run_before_others(PRIORITY)
    spin(executor, ending)


def main(argv: list[str] | None = None) -> int:
    return run_node(ConsoleNode, argv, PacedExecutor)


if __name__ == "__main__":
    raise SystemExit(main())
