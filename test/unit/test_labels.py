"""Labels of a folder of clips, made here or on Ray's workers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from como_ros.errors import ComoError
from policies.nets import artefact
from policies.nets.encoder import LabEncoder
from policies.spaces import Contract
from training import encoder as encoders
from training.evidence import Recording, open_labeller
from training.label import INDEX, label, read_labels
from training.label_ray import _reach
from training.latent_motion import model
from training.latent_motion.config import PRESETS
from training.latent_motion.net import MotionNet
from training.motion_data import ENCODER

WITH_RAY = find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not WITH_RAY, reason="needs Ray: pip install 'como_ros[scale]'")


def write_clip(path: Path, frames: int, seed: int) -> None:
    """A bright square that wanders."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 128
        stream.pix_fmt = "yuv420p"
        for tick in range(frames):
            image = np.full((128, 128, 3), 10 * seed, np.uint8)
            image[40:70, 5 * tick : 5 * tick + 30] = 250
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def clips(tmp_path):
    """Two clips, one that is shorter than the gap, one that is none."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name, frames in (("a", 12), ("b", 9), ("short", 4)):
        write_clip(folder / f"{name}.mp4", frames, frames)
    (folder / "broken.mp4").write_bytes(b"no film")
    return folder


@pytest.fixture
def motion(tmp_path):
    """A model that nobody trained, with its encoder."""
    torch.manual_seed(0)
    folder, config, seeing = tmp_path / "motion", PRESETS["debug"], encoders.PRESETS["debug"]
    artefact.save(folder, model.KIND, MotionNet(config).state_dict(), config, Contract())
    artefact.save(folder / ENCODER, encoders.KIND, LabEncoder(1).state_dict(), seeing, Contract())
    return folder


def test_every_clip_that_is_long_enough_gets_a_label_a_pair(clips, motion, tmp_path, capsys):
    told = label(motion, clips, tmp_path / "labels")
    assert (told["clips"], told["frames"]) == (2, (12 - 5) + (9 - 5))
    assert {"decode_frames_per_s", "encode_frames_per_s", "motion_frames_per_s"} <= set(told)
    assert "broken.mp4" in capsys.readouterr().err
    read = read_labels(tmp_path / "labels", "video")
    assert sorted(name[0] for name in read) == ["a", "b"]
    assert json.loads((tmp_path / "labels" / INDEX).read_text())["gap"] == 5


class Watched(torch.nn.Module):
    """An encoder, and how many threads it was asked to use."""

    def __init__(self, encoder: torch.nn.Module):
        super().__init__()
        self.encoder, self.threads = encoder, set()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.threads.add(torch.get_num_threads())
        return self.encoder(images)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_labelling_nothing_is_refused(clips, motion, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ComoError, match="nothing to label; give --videos DIR"):
        label(motion, None, tmp_path / "labels")
    with pytest.raises(ComoError, match="no clip"):
        label(motion, tmp_path / "empty", tmp_path / "labels")
    for name in ("a", "b"):
        (clips / f"{name}.mp4").unlink()
    with pytest.raises(ComoError, match="none of 2 recordings can be labelled"):
        label(motion, clips, tmp_path / "labels")
    assert "broken.mp4" in capsys.readouterr().err
    assert not (tmp_path / "labels").exists()


def test_a_recording_is_weighed_with_one_thread_whatever_the_machine_has(clips, motion, two_threads):
    opened = open_labeller(motion)
    watched = Watched(opened.encoder.net)
    labeller = replace(opened, encoder=replace(opened.encoder, net=watched))
    assert labeller.weigh(Recording(clips / "a.mp4")).parts
    assert watched.threads == {1}
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(WITH_RAY, reason="Ray is installed")
def test_without_ray_the_remedy_is_named(clips, motion, tmp_path):
    with pytest.raises(ComoError, match=r"pip install 'como_ros\[scale\]'"):
        label(motion, clips, tmp_path / "labels", ray=True)
    assert not (tmp_path / "labels").exists()


def test_a_cluster_that_nobody_listens_at_is_refused_at_once():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        _reach(address)
    with pytest.raises(ConnectionRefusedError):
        _reach(address)
    for name in ("local", "auto"):
        _reach(name)


@needs_ray
def test_a_killed_worker_of_ray_costs_no_label(clips, motion, tmp_path):
    label(motion, clips, tmp_path / "here")
    command = [sys.executable, "-m", "como_ros.cli", "label", str(motion), "--videos", str(clips), "--ray"]
    with (tmp_path / "told").open("w") as told:
        labelling = subprocess.Popen(
            [*command, "--out", str(tmp_path / "there")], stdout=told, stderr=subprocess.STDOUT
        )
        killed = kill_a_worker_at_work(labelling)
        assert labelling.wait(300) == 0, (tmp_path / "told").read_text()
    assert killed
    assert shards(tmp_path / "there") == shards(tmp_path / "here")
    assert "broken.mp4" in (tmp_path / "told").read_text()


def shards(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.npz")}


def kill_a_worker_at_work(labelling: subprocess.Popen) -> int | None:
    """The process of the first worker that is weighing a recording; None where labelling ended before."""
    while labelling.poll() is None:
        for pid in below(labelling.pid):
            if title(pid).startswith("ray::weigh_remotely"):
                os.kill(pid, signal.SIGKILL)
                return pid
        time.sleep(0.02)
    return None


def below(pid: int) -> list[int]:
    """A process' children, and theirs."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        own = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [found for child in own for found in (child, *below(child))]


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
