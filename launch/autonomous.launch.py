"""Let a policy do the task: ros2 launch como_ros autonomous.launch.py bundle:=DIR lab:=true"""

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration

from como_ros.graphs import Deployment, environment, graph
from launch import LaunchContext, LaunchDescription

ARGUMENTS = {
    "lab": ("false", "true runs against the simulated lab"),
    "task": (Deployment.task, "task of the lab"),
    "bundle": (Deployment.bundle, "folder of the compiled policy"),
    "out": (Deployment.out, "folder that takes the episodes"),
    "robot_host": (Deployment.robot_host, "address of the robot's controller"),
    "serials": ("", "camera serials FRONT,WRIST"),
}


def processes(context: LaunchContext) -> list[ExecuteProcess]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    deployment = Deployment.parse(given)
    return [
        ExecuteProcess(
            cmd=process.command,
            name=process.name,
            additional_env=environment(deployment),
            output="both",
            on_exit=Shutdown(reason=f"{process.name} ended"),
        )
        for process in graph("autonomous", deployment)
    ]


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text)
        for name, (value, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=processes)])
