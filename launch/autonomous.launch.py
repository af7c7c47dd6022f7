"""Let a policy do the task: ros2 launch como_ros autonomous.launch.py bundle:=DIR lab:=true"""

from launch.launch_description import LaunchDescription

from como_ros.nodes.launching import describe


def generate_launch_description() -> LaunchDescription:
    return describe("autonomous")
