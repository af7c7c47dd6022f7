"""The lab's world as one MuJoCo model: Panda with hand, table, a task's things, two cameras.

Kinematics and meshes come from robosuite's Panda; inertias, friction and gains are ours, because robosuite's
are not physical. Actuation is left to whoever steps the model (the FCI server or the fast mode).
Names the rest of the lab relies on: joints `joint1..7`, `finger_joint1/2`, body `flange`, site `tcp`,
cameras `front` and `wrist`, geoms `table`, `floor`, `backdrop` and `wall`. A thing that moves has a free
joint, one that only stands there is a mocap body; `cup`, `ball`, `book` and `bottle` are parked below the
floor until a layout wants them to stand about.
"""

from __future__ import annotations

import functools
import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path

import mujoco
import numpy as np

from como_ros.control import homing
from como_ros.errors import ComoError
from como_ros.lab import textures
from como_ros.lab.meshes import light_mesh

HOME_Q = np.array(homing.HOME_Q)
FLANGE_Z_M = 0.107
TCP_Z_M = 0.1034
ARM_JOINTS = tuple(f"joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("finger_joint1", "finger_joint2")

VISUAL_GROUP, COLLISION_GROUP = "1", "3"

# mass kg and principal inertia kg m^2, replacing robosuite's
INERTIAS = {
    "right_hand": (0.01, (1e-5, 1e-5, 1e-5)),
    "right_gripper": (0.73, (0.001, 0.0025, 0.0017)),
    "leftfinger": (0.015, (1e-5, 1e-5, 1e-5)),
    "rightfinger": (0.015, (1e-5, 1e-5, 1e-5)),
    "finger_joint1_tip": (0.002, (1e-6, 1e-6, 1e-6)),
    "finger_joint2_tip": (0.002, (1e-6, 1e-6, 1e-6)),
}

WORLD_XML = """
<mujoco model="como_lab">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.001" integrator="implicitfast" cone="elliptic" impratio="10">
    <flag actuation="disable"/>
  </option>
  <visual>
    <quality offsamples="0" shadowsize="0"/>
    <global offwidth="640" offheight="480"/>
    <map znear="0.01" zfar="20"/>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.35 0.35 0.35" specular="0 0 0"/>
  </visual>
  <default><geom group="1"/></default>
  <asset>{assets}</asset>
  <worldbody>
    <light name="lamp" pos="0.4 0.3 1.8" dir="0.05 -0.15 -1" diffuse="0.55 0.55 0.55" castshadow="false"/>
    <geom name="floor" type="plane" size="3 3 0.1" pos="0 0 -0.75" rgba="0.33 0.34 0.36 1"/>
    <geom name="backdrop" type="box" size="0.02 2.5 1.5" pos="-1.0 0 0.7" rgba="0.62 0.65 0.68 1"
          contype="0" conaffinity="0"/>
    <geom name="wall" type="plane" size="1.5 2.5 0.1" pos="-0.97 0 0.7" zaxis="1 0 0" rgba="1 1 1 0"
          contype="0" conaffinity="0"/>
    <geom name="pedestal" type="box" size="0.14 0.14 0.37" pos="-0.05 0 -0.375" rgba="0.25 0.26 0.28 1"
          contype="0" conaffinity="0"/>
    <geom name="table" type="box" size="0.36 0.55 0.02" pos="0.55 0 -0.02" rgba="0.72 0.62 0.50 1"
          friction="1 0.01 0.0001"/>
    <camera name="front" pos="1.12 0.07 0.56" xyaxes="0 1 0 -0.53 0 0.85" fovy="46"/>
    <body name="cup" mocap="true" pos="0 0 -3">
      <geom type="cylinder" size="0.038 0.045" pos="0 0 0.045"/>
      <geom type="capsule" size="0.006" fromto="0.040 0 0.070 0.062 0 0.062"/>
      <geom type="capsule" size="0.006" fromto="0.062 0 0.062 0.060 0 0.030"/>
      <geom type="capsule" size="0.006" fromto="0.060 0 0.030 0.040 0 0.022"/>
      <geom name="cup_trim" type="cylinder" size="0.032 0.001" pos="0 0 0.0905" rgba="0.16 0.09 0.05 1"/>
    </body>
    <body name="ball" mocap="true" pos="0 0 -3"><geom type="sphere" size="0.038" pos="0 0 0.038"/></body>
    <body name="book" mocap="true" pos="0 0 -3">
      <geom type="box" size="0.095 0.068 0.003" pos="0 0 0.003"/>
      <geom type="box" size="0.095 0.068 0.003" pos="0 0 0.029"/>
      <geom type="box" size="0.095 0.003 0.016" pos="0 -0.065 0.016"/>
      <geom name="book_trim" type="box" size="0.091 0.064 0.010" pos="0 0 0.016" rgba="0.93 0.91 0.84 1"/>
    </body>
    <body name="bottle" mocap="true" pos="0 0 -3">
      <geom type="cylinder" size="0.032 0.075" pos="0 0 0.075"/>
      <geom type="ellipsoid" size="0.032 0.032 0.030" pos="0 0 0.150"/>
      <geom type="cylinder" size="0.012 0.025" pos="0 0 0.190"/>
      <geom name="bottle_trim" type="cylinder" size="0.014 0.010" pos="0 0 0.217" rgba="0.9 0.9 0.9 1"/>
    </body>
  </worldbody>
  <contact><exclude body1="link0" body2="link1"/></contact>
</mujoco>
"""


def _assets() -> Path:
    """robosuite's model files, found without importing robosuite (its import prints warnings)."""
    spec = importlib.util.find_spec("robosuite")
    if spec is None or spec.origin is None:
        raise ComoError("the lab needs robosuite's Panda meshes; install the [lab] extra")
    return Path(spec.origin).parent / "models/assets"


def find(parent: ET.Element, path: str) -> ET.Element:
    """A child that must be there: the scene cannot be built without it."""
    found = parent.find(path)
    if found is None:
        raise ComoError(f"the robot model has no {path} below <{parent.tag}>; install the pinned robosuite")
    return found


def _mesh_attributes(path: Path, visual: bool) -> dict[str, str]:
    if not visual:
        return {"file": str(path)}
    vertices, faces = light_mesh(path)
    return {
        "vertex": " ".join(f"{x:.5f}" for x in vertices.reshape(-1)),
        "face": " ".join(str(i) for i in faces.reshape(-1)),
    }


def _take_assets(world: ET.Element, part: ET.Element, folder: Path) -> None:
    assets = find(world, "asset")
    used = {geom.get("mesh") for geom in part.iter("geom")}
    visual = {geom.get("mesh") for geom in part.iter("geom") if geom.get("group") == "1"}
    for item in find(part, "asset"):
        if item.tag == "material":
            assets.append(
                ET.Element("material", {k: v for k, v in item.attrib.items() if k in ("name", "rgba")})
            )
        elif item.get("name") in used:
            name = item.attrib["name"]
            shape = _mesh_attributes(folder / item.attrib["file"], name in visual)
            assets.append(ET.Element("mesh", {"name": name, **shape}))


def _clean_body(body: ET.Element) -> None:
    """Ours in place of robosuite's: groups, inertias, joint dynamics, gravity compensation; no sites."""
    for parent in list(body.iter("body")):
        for child in [c for c in parent if c.tag in ("site", "camera")]:
            parent.remove(child)
        parent.set("gravcomp", "1")
        if (name := parent.attrib["name"]) in INERTIAS:
            mass, diagonal = INERTIAS[name]
            find(parent, "inertial").set("mass", str(mass))
            find(parent, "inertial").set("diaginertia", " ".join(map(str, diagonal)))
        for geom in parent.findall("geom"):
            geom.set("group", VISUAL_GROUP if geom.get("group") == "1" else COLLISION_GROUP)
        for joint in parent.findall("joint"):
            _set_joint_dynamics(joint)


def _set_joint_dynamics(joint: ET.Element) -> None:
    finger = joint.get("name") in FINGER_JOINTS
    joint.set("armature", "0.1")
    joint.set("damping", "10" if finger else "1")
    joint.set("frictionloss", "0.1" if finger else "0")
    if joint.get("name") == "finger_joint2":
        joint.set("axis", "0 -1 0")
        joint.set("range", "0 0.04")


def _add_hand(arm: ET.Element, gripper: ET.Element) -> None:
    bodies = {body.get("name"): body for body in arm.iter("body")}
    flange = ET.SubElement(bodies["link7"], "body", name="flange", pos=f"0 0 {FLANGE_Z_M}")
    ET.SubElement(flange, "inertial", pos="0 0 0", mass="0.001", diaginertia="1e-6 1e-6 1e-6")
    hand = bodies["right_hand"]
    half = np.pi / 8
    hand.set("pos", f"0 0 {FLANGE_Z_M}")
    hand.set("quat", f"{np.cos(half)} 0 0 {-np.sin(half)}")
    hand.append(gripper)


def _add_tool(arm: ET.Element) -> None:
    hand = next(body for body in arm.iter("body") if body.get("name") == "right_hand")
    ET.SubElement(hand, "site", name="tcp", pos=f"0 0 {TCP_Z_M}", size="0.001", group="5", rgba="0 0 0 0")
    # beside the hand on the side facing the base, tilted 30 degrees towards the fingertips
    tilt = np.deg2rad(30)
    axes = f"0 1 0 {np.cos(tilt)} 0 {-np.sin(tilt)}"
    ET.SubElement(hand, "camera", name="wrist", pos="-0.08 0 0.04", xyaxes=axes, fovy="75")


def bare_world(objects_xml: str) -> ET.Element:
    """Table, walls, light and a task's things, without the robot."""
    world = ET.fromstring(WORLD_XML.format(assets=textures.ASSETS_XML))
    find(world, "worldbody").extend(ET.fromstring(f"<things>{objects_xml}</things>"))
    return world


@functools.cache
def world_xml(objects_xml: str) -> str:
    """The whole scene as MJCF text."""
    assets = _assets()
    world = bare_world(objects_xml)
    arm_file, hand_file = assets / "robots/panda/robot.xml", assets / "grippers/panda_gripper.xml"
    arm, gripper = ET.parse(arm_file).getroot(), ET.parse(hand_file).getroot()
    _take_assets(world, arm, arm_file.parent)
    _take_assets(world, gripper, hand_file.parent)
    base = find(arm, "worldbody/body[@name='base']/body[@name='link0']")
    _add_hand(base, find(gripper, "worldbody/body[@name='right_gripper']"))
    _clean_body(base)
    _add_tool(base)
    find(world, "worldbody").append(base)
    return ET.tostring(world, encoding="unicode")


def compiled(xml: str) -> mujoco.MjModel:
    """A world of the lab with its patterns drawn."""
    model = mujoco.MjModel.from_xml_string(xml)
    textures.draw_textures(model)
    return model


def build_model(objects_xml: str) -> mujoco.MjModel:
    """A fresh compiled model with a task's things; the caller may repaint and re-light it."""
    return compiled(world_xml(objects_xml))


def joint_addresses(model: mujoco.MjModel, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(qpos addresses, dof addresses) of named joints."""
    ids = [model.joint(name).id for name in names]
    return model.jnt_qposadr[ids].copy(), model.jnt_dofadr[ids].copy()


def set_arm_home(
    model: mujoco.MjModel, data: mujoco.MjData, q: np.ndarray = HOME_Q, width_m: float = 0.08
) -> None:
    arm, _ = joint_addresses(model, ARM_JOINTS)
    fingers, _ = joint_addresses(model, FINGER_JOINTS)
    data.qpos[arm] = q
    data.qpos[fingers] = width_m / 2
    data.qvel[:] = 0


def set_body(model: mujoco.MjModel, data: mujoco.MjData, name: str, pose7: np.ndarray) -> None:
    """A thing at rest at a pose: a mocap body, or one with a free joint."""
    body = model.body(name)
    position, wxyz = pose7[:3], pose7[[6, 3, 4, 5]]
    if (mocap := int(body.mocapid[0])) >= 0:
        data.mocap_pos[mocap], data.mocap_quat[mocap] = position, wxyz
        return
    q, v = model.jnt_qposadr[body.jntadr[0]], model.jnt_dofadr[body.jntadr[0]]
    data.qpos[q : q + 7] = [*position, *wxyz]
    data.qvel[v : v + 6] = 0


def world_vector(data: mujoco.MjData, seed: int, spread: int = 0) -> np.ndarray:
    """All that a camera needs to draw the world: seed and range (for its paint), qpos, mocap poses."""
    head = [float(seed), float(spread)]
    return np.concatenate([head, data.qpos, data.mocap_pos.ravel(), data.mocap_quat.ravel()])


def set_world(model: mujoco.MjModel, data: mujoco.MjData, vector: np.ndarray) -> tuple[int, int]:
    """Inverse of `world_vector`; returns seed and range. Call mj_forward kinematics before drawing."""
    count = model.nmocap
    qpos, places, turns = np.split(vector[2:], [model.nq, model.nq + 3 * count])
    data.qpos[:] = qpos
    data.mocap_pos[:], data.mocap_quat[:] = places.reshape(count, 3), turns.reshape(count, 4)
    return int(vector[0]), int(vector[1])


def world_vector_size(model: mujoco.MjModel) -> int:
    return 2 + model.nq + 7 * model.nmocap
