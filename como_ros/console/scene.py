"""The 3-D view: the arm as it is, the plan it is about to follow, and a gizmo to pull it by. Served by viser.

viser knows no passwords: it listens on this machine only, and a connection that did not come through the
console's gate, which adds a secret of this run, is closed before it sees or says anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import viser
from viser import _messages
from viser.infra import WebsockClientConnection

from como_ros.console.gate import SECRET_HEADER, VIEW_HEADER
from como_ros.console.shapes import FINGER_Z_M, HAND, meshes
from como_ros.control.kinematics import TCP_M, link_frames
from como_ros.control.rotations import matrix_from_xyzw, xyzw_from_matrix

HOST = "127.0.0.1"
WHITE, GREY, PLAN = (235, 236, 238), (90, 94, 100), (70, 160, 255)
TABLE_M, TABLE_AT_M = (0.72, 1.1, 0.04), (0.55, 0.0, -0.02)
LAMP_M = (1.0, 1.0, 2.0)
PLAIN: dict[str, Any] = {"side": "front", "cast_shadow": False, "receive_shadow": False}
"""Where there is no GPU every pixel of the arm costs: one lamp, no shadows, no insides."""
GIZMO_SCALE, PLAN_M = 0.16, 0.006
STILL = 5e-4
"""Radians, and metres of width, that nobody can see."""


class Scene:
    """Safe to call from one thread; the gizmo moves from viser's.

    `may_pull` says of a view whether its gizmo counts now: only who holds the deadman may steer.
    """

    def __init__(self, secret: str, gizmo: bool, may_pull: Callable[[str], bool]) -> None:
        self._secret = secret
        self._may_pull = may_pull
        self._views: dict[int, str] = {}
        """By viser's number of a client."""
        self._server = viser.ViserServer(HOST, 0, verbose=False)
        self._guard()
        self._bare_view()
        self._draw()
        self._lock = threading.Lock()
        self._shown = np.full(8, np.inf)
        self._dragged: int | None = None
        self._pulled7: np.ndarray | None = None
        """Where the gizmo was last put, by us or by one who may."""
        self._gizmo = self._add_gizmo() if gizmo else None
        self._plan: list[viser.SceneNodeHandle] = []

    @property
    def port(self) -> int:
        return self._server.get_port()

    @property
    def watched(self) -> bool:
        return bool(self._server.get_clients())

    def close(self) -> None:
        self._server.stop()

    # Who may look ------------------------------------------------------------------------------------

    def _guard(self) -> None:
        """Strangers are closed; nobody may open viser's public tunnel, which would go round the gate."""
        sockets = self._server._websock_server
        for kind in (_messages.ShareUrlRequest, _messages.ShareUrlDisconnect):
            sockets._incoming_handlers.pop(kind)

        async def refuse_strangers(client: WebsockClientConnection) -> None:
            connection = sockets._live_connections[client.client_id]
            if connection.request is None or connection.request.headers.get(SECRET_HEADER) != self._secret:
                await connection.close(1008, "come through the console")
                raise PermissionError("a connection to the 3-D view did not come through the console's gate")
            self._views[client.client_id] = connection.request.headers.get(VIEW_HEADER, "")

        sockets._client_connect_cb.insert(0, refuse_strangers)

    # What is drawn -----------------------------------------------------------------------------------

    def _bare_view(self) -> None:
        """Only the scene: the console's own page has the buttons."""
        self._server.gui.configure_theme(show_logo=False, show_share_button=False, dark_mode=True)
        camera = self._server.initial_camera
        camera.position, camera.look_at, camera.up = (1.25, 0.75, 0.75), (0.38, 0.0, 0.28), (0.0, 0.0, 1.0)
        camera.fov = np.deg2rad(50)

    def _draw(self) -> None:
        scene = self._server.scene
        scene.set_up_direction("+z")
        scene.world_axes.visible = False
        scene.configure_environment_map(hdri=None)
        scene.configure_default_lights(enabled=False)
        scene.add_light_ambient("/light", intensity=1.2)
        scene.add_light_directional("/lamp", intensity=2.5, position=LAMP_M)
        scene.add_grid("/floor", 4.0, 4.0, position=(0.5, 0.0, -0.045), cell_color=(70, 74, 80))
        scene.add_box("/table", (128, 110, 90), TABLE_M, position=TABLE_AT_M, cast_shadow=False)
        bodies, finger = meshes()
        self._links = [scene.add_frame(f"/arm/{i}", show_axes=False) for i in range(HAND + 1)]
        for i, (vertices, faces) in enumerate(bodies):
            colour = GREY if i == HAND else WHITE
            scene.add_mesh_simple(f"/arm/{i}/body", vertices, faces, color=colour, **PLAIN)
        turns = ((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
        self._fingers = [
            scene.add_mesh_simple(f"/arm/{HAND}/finger{i}", *finger, color=GREY, wxyz=turn, **PLAIN)
            for i, turn in enumerate(turns)
        ]
        self._ghost = scene.add_mesh_simple(
            "/plan/hand", *bodies[HAND], color=PLAN, opacity=0.5, visible=False, **PLAIN
        )

    def show_arm(self, q: np.ndarray, width_m: float) -> None:
        """Says nothing where nothing moved: every word makes every browser draw anew."""
        row = np.append(q, width_m)
        if np.abs(row - self._shown).max() < STILL:
            return
        self._shown = row
        frames = link_frames(q)
        with self._server.atomic():
            for node, frame in zip(self._links, frames, strict=True):
                node.position, node.wxyz = frame[:3, 3], _wxyz(xyzw_from_matrix(frame[:3, :3]))
            for side, finger in zip((1, -1), self._fingers, strict=True):
                finger.position = (0.0, side * width_m / 2, FINGER_Z_M)

    def show_plan(self, poses7: np.ndarray) -> None:
        """(N, 7) poses about to be followed, as a line with a ghost of the hand at its end; none clears."""
        with self._server.atomic():
            for node in self._plan:
                node.remove()
            self._plan = []
            if len(poses7) >= 2:
                points = poses7[:, :3]
                pairs = np.stack([points[:-1], points[1:]], axis=1)
                line = self._server.scene.add_line_segments("/plan/line", pairs, PLAN, thickness=PLAN_M)
                self._plan = [line]
                self._ghost.position, self._ghost.wxyz = hand_at(poses7[-1]), _wxyz(poses7[-1, 3:])
            self._ghost.visible = bool(self._plan)

    # The gizmo ---------------------------------------------------------------------------------------

    def _add_gizmo(self) -> viser.TransformControlsHandle:
        gizmo = self._server.scene.add_transform_controls("/gizmo", GIZMO_SCALE, depth_test=False)

        @gizmo.on_update
        async def _(event: viser.TransformControlsEvent) -> None:
            self._pull(event)

        @self._server.on_client_disconnect
        async def _(client: viser.ClientHandle) -> None:
            self._views.pop(client.client_id, None)
            with self._lock:
                self._dragged = None if self._dragged == client.client_id else self._dragged

        return gizmo

    def _pull(self, event: viser.TransformControlsEvent) -> None:
        """Counts from whoever may; from others the gizmo goes back to where it was."""
        allowed = event.client_id is not None and self._may_pull(self._views.get(event.client_id, ""))
        with self._lock:
            if event.phase == "end":
                self._dragged = None if self._dragged == event.client_id else self._dragged
                return
            if allowed:
                self._dragged, self._pulled7 = event.client_id, _pose7(event.target)
                return
            back7 = self._pulled7
        if back7 is not None:
            self._put(event.target, back7)

    def _put(self, gizmo: viser.TransformControlsHandle, pose7: np.ndarray) -> None:
        with self._server.atomic():
            gizmo.position, gizmo.wxyz = pose7[:3], _wxyz(pose7[3:])

    @property
    def dragging(self) -> bool:
        with self._lock:
            return self._dragged is not None

    @property
    def gizmo7(self) -> np.ndarray | None:
        with self._lock:
            return self._pulled7

    def place_gizmo(self, pose7: np.ndarray) -> None:
        """To where the hand is, unless somebody holds it."""
        gizmo = self._gizmo
        if gizmo is None or self.dragging:
            return
        if self._pulled7 is None or np.abs(self._pulled7[:3] - pose7[:3]).max() >= STILL:
            with self._lock:
                self._pulled7 = pose7.copy()
            self._put(gizmo, pose7)


def hand_at(pose7: np.ndarray) -> np.ndarray:
    """(3,) where the hand's own frame is while its tips are at a pose."""
    return np.asarray(pose7[:3] - TCP_M * matrix_from_xyzw(pose7[3:])[:, 2])


def _pose7(gizmo: viser.TransformControlsHandle) -> np.ndarray:
    return np.concatenate([gizmo.position, np.roll(gizmo.wxyz, -1)])


def _wxyz(xyzw: np.ndarray) -> np.ndarray:
    return np.roll(xyzw, 1)
