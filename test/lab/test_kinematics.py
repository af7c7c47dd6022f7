"""Forward kinematics from published parameters, against the lab's physics model."""

import mujoco
import numpy as np

from como_ros.control.homing import HOME_Q
from como_ros.control.kinematics import ee_pose7, jacobian, link_frames
from como_ros.control.limits import PANDA
from como_ros.control.rotations import matrix_from_xyzw
from como_ros.lab.scene import ARM_JOINTS, build_model


def test_every_link_and_the_finger_tips_are_where_the_lab_has_them():
    model = build_model("")
    data = mujoco.MjData(model)
    address = [model.joint(name).qposadr[0] for name in ARM_JOINTS]
    draws = np.random.default_rng(0).uniform(PANDA.q_min, PANDA.q_max, (200, 7))
    for q in [np.array(HOME_Q), *draws]:
        data.qpos[address] = q
        mujoco.mj_kinematics(model, data)
        frames = link_frames(q)
        for i in range(8):
            body = data.body(f"link{i}")
            np.testing.assert_allclose(frames[i][:3, 3], body.xpos, atol=1e-4)
            np.testing.assert_allclose(frames[i][:3, :3], body.xmat.reshape(3, 3), atol=1e-3)
        found, tip = ee_pose7(q), data.site("tcp")
        np.testing.assert_allclose(found[:3], tip.xpos, atol=1e-3)
        np.testing.assert_allclose(matrix_from_xyzw(found[3:]), tip.xmat.reshape(3, 3), atol=1e-3)


def test_the_jacobian_is_the_labs():
    model = build_model("")
    data = mujoco.MjData(model)
    joints = [model.joint(name) for name in ARM_JOINTS]
    linear, angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    for q in np.random.default_rng(0).uniform(PANDA.q_min, PANDA.q_max, (50, 7)):
        data.qpos[[joint.qposadr[0] for joint in joints]] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacSite(model, data, linear, angular, model.site("tcp").id)
        columns = [joint.dofadr[0] for joint in joints]
        np.testing.assert_allclose(
            jacobian(q), np.concatenate([linear[:, columns], angular[:, columns]]), atol=1e-3
        )
