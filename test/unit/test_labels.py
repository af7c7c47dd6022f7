"""Labels of a folder of clips."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from policies.nets import artefact
from policies.nets.encoder import LabEncoder
from policies.spaces import Contract
from training import encoder as encoders
from training.label import INDEX, label, read_labels
from training.latent_motion import model
from training.latent_motion.config import PRESETS
from training.latent_motion.net import MotionNet
from training.motion_data import ENCODER


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
