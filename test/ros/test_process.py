"""How a node's process ends."""

import subprocess
import sys

NODE = """
import os, signal, time
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from como_ros.nodes.process import run_node

class StoppedAsItTakes(SingleThreadedExecutor):
    def _take_timer(self, timer):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        return super()._take_timer(timer)

class Ticking(Node):
    def __init__(self):
        super().__init__("ticking")
        self.create_timer(0.01, lambda: None)

raise SystemExit(run_node(Ticking, executor_class=StoppedAsItTakes))
"""


def test_a_node_that_is_stopped_just_as_it_takes_up_work_ends_without_a_complaint(own_domain):
    """rclpy raises InvalidHandle then: a trace on the screen and exit code 1, now and then."""
    ended = subprocess.run([sys.executable, "-c", NODE], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stderr) == (0, "")
