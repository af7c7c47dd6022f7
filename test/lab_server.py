"""A lab of one's own: the FCI server as a process, ready when this returns, gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from como_ros.lab.client import LabClient


@dataclass(frozen=True)
class RunningLab:
    process: subprocess.Popen[str]
    state: str
    control: Path
    ready_line: str

    def client(self) -> LabClient:
        return LabClient(self.control)


@contextmanager
def running_lab(seed: int = 0) -> Iterator[RunningLab]:
    name = f"test{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder:
        control = Path(folder) / "control.sock"
        command = [sys.executable, "-m", "como_ros.lab.fci", "--seed", str(seed)]
        command += ["--state", name, "--control", str(control)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("lab ready"), "the lab's server ended before it was ready"
            yield RunningLab(process, name, control, line)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
