"""Pictures of a real camera's size between two processes."""

import sys

from ros_probe import wait_until
from std_msgs.msg import String

FRONT = "/front/color/image_raw"
FRAMES = 60


def test_vga_pictures_cross_the_border_of_a_process_without_a_loss(probe, processes, tmp_path):
    images = probe.listen(FRONT)
    command = [sys.executable, "-m", "como_ros.nodes.load", "--ros-args", "-p", f'topics:=["{FRONT}"]']
    processes.run([*command, "-p", f"seconds:={FRAMES / 30}", "-p", f"out:={tmp_path / 'sent.json'}"])
    wait_until(lambda: probe.node.count_publishers(FRONT), "the sender")
    probe.speak("/recorder/state").publish(String(data="recording this"))
    wait_until(lambda: (tmp_path / "sent.json").exists(), "the last picture to be sent")
    wait_until(lambda: images and images[-1][1].header.frame_id == str(FRAMES - 1), "the last picture")
    assert [message.header.frame_id for _, message in images] == [str(number) for number in range(FRAMES)]
    assert {(message.height, message.width) for _, message in images} == {(480, 640)}
