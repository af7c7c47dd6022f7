"""A run of the motion model: recordings in, a trained model and the page about it out."""

from __future__ import annotations

from pathlib import Path

from training.latent_motion import model
from training.latent_motion.config import MotionConfig, preset
from training.motion_data import keep_encoder, load_frames, motion_data, open_encoder
from training.motion_page import PAGE, page
from training.videos import refuse_truth


def train(
    bags: Path | None,
    videos: Path | None,
    encoder: Path,
    out: Path,
    config: MotionConfig | str = "lab",
    masks: Path | None = None,
) -> dict[str, float]:
    """Train a latent-motion model on the frames of `bags` and `videos`.

    No action is read, unless the config asks for action labels.
    """
    refuse_truth(bags, videos, encoder, masks)
    chosen, frozen = preset(config), open_encoder(encoder)
    contract, episodes, clips = load_frames(bags, videos, frozen.contract)
    data = motion_data(episodes, clips, frozen, chosen, masks=masks)
    keep_encoder(encoder, out)
    source = {"bags": str(bags), "videos": str(videos)}
    result = model.train_on(data, out, chosen, contract, frozen.sha256, source, frozen.net)
    (out / PAGE).write_text(page(*model.load(out), frozen, episodes, clips))
    return result.summary()
