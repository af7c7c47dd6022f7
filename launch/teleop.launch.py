"""Drive the arm by hand and record: ros2 launch como_ros teleop.launch.py lab:=true"""

from launch.launch_description import LaunchDescription

from como_ros.nodes.launching import describe


def generate_launch_description() -> LaunchDescription:
    return describe("teleop")
