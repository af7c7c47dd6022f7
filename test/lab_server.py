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
    errors: Path
    """What it said on stderr."""

    def client(self) -> LabClient:
        return LabClient(self.control)


@contextmanager
def running_lab(seed: int = 0, **settings: str) -> Iterator[RunningLab]:
    """`settings` are more of the server's own, by name."""
    name = f"test{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder:
        control, errors = Path(folder) / "control.sock", Path(folder) / "errors"
        command = [sys.executable, "-m", "como_ros.lab.fci", "--seed", str(seed)]
        command += ["--state", name, "--control", str(control)]
        command += [part for key, value in settings.items() for part in (f"--{key}", value)]
        with errors.open("w") as file:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("lab ready"), f"the lab ended before it was ready: {errors.read_text()}"
            yield RunningLab(process, name, control, line, errors)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
