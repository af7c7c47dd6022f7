"""One package for three readers: `colcon build` (ament_python), `pip install .` and `pip install -e .`."""

from glob import glob

from setuptools import setup

PACKAGES = [
    "como_ros",
    "como_ros.console",
    "como_ros.control",
    "como_ros.drivers",
    "como_ros.lab",
    "como_ros.lab.tasks",
    "como_ros.nodes",
    "policies",
    "policies.nets",
    "training",
    "training.latent_motion",
]

NODES = ["arm", "camera", "console", "policy", "recorder", "supervisor", "teleop"]

EXTRAS = {
    # the robot's side, ROS aside
    "core": ["franky-control", "onnxruntime", "opencv-python", "pyrealsense2", "rosbags", "ruamel.yaml.clib"],
    # ROS 2 from wheels; leave it out where a ROS 2 distribution is sourced
    "ros": ["ros-rclpy[fastrtps]", "ros-common-interfaces"],
    # the operator's page in a browser
    "console": ["opencv-python", "viser", "websockets"],
    # things that an operator holds: SpaceMouse, gamepad, GELLO leader arm
    "devices": ["dynamixel-sdk", "evdev", "hidapi"],
    # everything simulated: physics, the arm's protocol, cameras, human video
    "lab": ["av", "franka-sim", "mujoco", "opencv-python", "robosuite"],
    # everything learned, and the way to ONNX
    "train": ["av", "onnx", "onnxscript", "opencv-python", "pyarrow", "safetensors", "torch"],
    # engines for an NVIDIA GPU, built ahead of time
    "gpu": ["tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs"],
    # videos that outgrow one machine
    "scale": ["ray"],
    "dev": [
        "hypothesis",
        "mcap-ros2-support",
        "mypy",
        "pytest",
        "pytest-rerunfailures",
        "ruff",
        "types-PyYAML",
    ],
}

setup(
    name="como_ros",
    version="0.1.0",
    description="Fifty demonstrations and unlabelled human video in, a Franka arm that does the task out.",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=PACKAGES,
    package_data={"como_ros": ["fastdds.xml"], "como_ros.console": ["static/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/como_ros"]),
        ("share/como_ros", ["package.xml"]),
        ("share/como_ros/launch", sorted(glob("launch/*.launch.py"))),
        ("share/como_ros/bundles/lab", sorted(glob("bundles/lab/*.*"))),
    ],
    install_requires=["numpy", "rich", "tyro"],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "como = como_ros.cli:main",
            *(f"{node} = como_ros.nodes.{node}:main" for node in NODES),
        ]
    },
    zip_safe=False,
)
