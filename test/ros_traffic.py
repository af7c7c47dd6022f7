"""A camera and an arm as a process of their own: a counted burst once something records.

Arguments: image frames, joint states. Ten joint states go with three frames, 100 and 30 a second.
"""

import sys
import threading
import time

import numpy as np
import rclpy
from rclpy.node import Node

from como_ros import wire
from como_ros.nodes.wiring import message_class, publisher, subscription

IMAGES = ("/front/color/image_raw", "/wrist/color/image_raw")
JOINTS = "/arm/joint_states"


def main(frames: int, states: int) -> None:
    rclpy.init()
    node = Node("traffic")
    recording = threading.Event()
    publishers = {name: publisher(node, name) for name in (*IMAGES, JOINTS)}
    messages = {name: message_class(name)() for name in publishers}
    subscription(node, "/recorder/state", lambda said: said.data.startswith("recording ") and recording.set())
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)

    def send_images() -> None:
        for name in IMAGES:
            publishers[name].publish(wire.fill_image(messages[name], rgb, time.time_ns(), "camera"))

    while not all(one.get_subscription_count() for one in publishers.values()):
        time.sleep(0.02)
    while not recording.is_set():
        rclpy.spin_once(node, timeout_sec=0.1)
    began = time.monotonic()
    sent = 0
    for i in range(states):
        q = np.full(7, i * 1e-3)
        publishers[JOINTS].publish(
            wire.fill_joint_states(messages[JOINTS], q, np.zeros(7), 0.04, time.time_ns())
        )
        if sent < frames and sent <= 0.3 * i:
            send_images()
            sent += 1
        time.sleep(max(0.0, began + (i + 1) * 0.01 - time.monotonic()))
    time.sleep(1.0)
    rclpy.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
