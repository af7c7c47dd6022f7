"""How stiff and how damped the arm is held, the same on the robot, in the lab's fast mode and in its tests.

franky's own damping is 2 sqrt(K), critical for a mass of 1 kg. Franka's hand feels like 3.5 kg and more along
its axes: a fast descent overshot by 13 mm and pressed 60 N on the table. With this damping it presses 6 N.
"""

STIFFNESS_N_M, STIFFNESS_NM_RAD = 1500.0, 60.0
DAMPING_NS_M, DAMPING_NMS_RAD = 145.0, 12.0
POSTURE_NM_RAD = 2.0
"""Draws the joints towards home where that moves the hand nowhere: without it the elbow wanders, and within
minutes a joint is at its end."""
ERROR_CLIP_M, ERROR_CLIP_RAD = 0.05, 0.25
"""On each axis; errors beyond pull no harder: 75 N, below what joint 5 can give."""
Joints = tuple[float, float, float, float, float, float, float]
YIELDING_NMS_RAD: Joints = (4.0, 4.0, 4.0, 4.0, 1.5, 1.5, 1.0)
"""Damping of the joints of an arm that a hand guides, its only resistance: what lets go comes to rest."""
CATCHING_NMS_RAD: Joints = (30.0, 30.0, 30.0, 30.0, 8.0, 8.0, 5.0)
CATCHING_NM_RAD: Joints = (200.0, 200.0, 200.0, 200.0, 40.0, 40.0, 20.0)
"""Of one that is caught in motion, by its joints: the hand's own law at once would ask joints 5 and 6 for
more than they have."""
COLLISION_NM, COLLISION_N = 40.0, 40.0
"""External torque of a joint, force and torque of an axis, that stop the robot."""
CONTACT_NM, CONTACT_N = 20.0, 20.0
