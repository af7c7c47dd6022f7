"""One page about a trained motion model: its curve, what it paints, swaps, neighbours and words.

A single HTML file; every picture lies in it. Painted frames are those of the model where it paints pixels;
a model that paints features is shown by the real frame whose features are nearest to what it painted.
"""

from __future__ import annotations

import html
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from policies.nets import artefact
from training.episodes import Episode, load_episodes
from training.latent_motion import model
from training.latent_motion.config import MotionConfig
from training.latent_motion.net import MotionNet
from training.latent_motion.pictures import embedded, sheet
from training.metrics import score_on
from training.motion_data import ENCODER, FrozenEncoder, motion_data, open_encoder
from training.motion_shown import Shown, in_turn, liveliest, look, one_a_recording, paint, spread
from training.videos import Clip, read_clips, refuse_truth

PAGE = "report.html"
PAINTED, SWAPPED, ASKED, NEAREST, WORDS, EXAMPLES = 6, 5, 4, 5, 16, 5
FIGURES = {
    "lp_r2": "R2 of the robot's translation, linear probe",
    "lp_r2_x": "of x",
    "lp_r2_y": "of y",
    "lp_r2_z": "of z",
    "lp_r2_gripper": "of the hand's opening",
    "mlp_r2": "R2, MLP probe",
    "lp_mse": "LP-MSE, in each axis' variance",
    "s_pcfc": "S-PCFC, centred",
    "s_pcfc_shuffled": "S-PCFC of shuffled pairs",
    "effective_rank": "effective rank",
    "codes_used": "share of words in use",
    "perplexity": "perplexity",
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; max-width: 1000px;
       margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2.5rem 0 .3rem }
p { margin: .3rem 0 .8rem; color: #4a525b } figure { margin: 0; overflow-x: auto }
img { max-width: 100%; image-rendering: pixelated } svg { width: 100%; height: auto }
table { border-collapse: collapse } td { padding: .1rem 1rem .1rem 0; vertical-align: top }
td + td { font-variant-numeric: tabular-nums } .two { display: flex; flex-wrap: wrap; gap: 3rem }
"""


def write_page(folder: Path, bags: Path | None, videos: Path | None, out: Path) -> dict[str, str | int]:
    """The page of the model in `folder`, with pictures and figures of these recordings."""
    refuse_truth(folder, bags, videos)
    net, found = model.load(folder)
    encoder = open_encoder(folder / ENCODER, found.contract)
    contract, episodes = load_episodes(bags, measuring=True) if bags else (found.contract, [])
    found.contract.require(contract, f"bags {bags}")
    clips = read_clips(videos, contract.action_rate_hz, contract.image_hw)[0] if videos else []
    text = page(net, found, encoder, episodes, clips)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    return {"page": str(out), "bytes": len(text)}


def page(
    net: MotionNet,
    found: artefact.Artefact,
    encoder: FrozenEncoder,
    episodes: list[Episode],
    clips: list[Clip],
) -> str:
    gap = round(net.config.gap_s * encoder.contract.action_rate_hz)
    episodes = [e for e in episodes if len(e) > gap]
    clips = [c for c in clips if len(c.frames) > gap]
    shown = look(net, encoder, spread(episodes), spread(clips))
    parts = [
        _head(found, net.config),
        _measured(_figures(net, encoder, episodes), len(episodes)),
        _curve(found.extra.get("curve", [])),
        _paintings(shown),
        _swaps(shown),
        _neighbours(shown),
        _words(shown),
    ]
    body = "\n".join(part for part in parts if part)
    title = html.escape(f"Latent motion: {found.folder.name}")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f"<!doctype html>\n<html lang=en><head>{head}</head><body>\n{body}\n</body></html>\n"


def _figures(net: MotionNet, encoder: FrozenEncoder, episodes: list[Episode]) -> dict[str, float]:
    """Nothing where there are too few episodes for a probe, or where they are too short."""
    if len(episodes) < 8:
        return {}
    data = motion_data(episodes, [], encoder, replace(net.config, masks="none"), copies=0)
    long_enough = len(data.starts(2 * round(net.config.gap_s * data.rate_hz)))
    return score_on(net, data, episodes) if long_enough else {}


def _measured(figures: dict[str, float], episodes: int) -> str:
    rows = {name: f"{figures[key]:.2f}" for key, name in FIGURES.items() if key in figures}
    return (
        f"<div><h2>Measured on these {episodes} episodes</h2>{_table(rows)}</div></div>" if rows else "</div>"
    )


def _head(found: artefact.Artefact, config: MotionConfig) -> str:
    usual = asdict(MotionConfig())
    flat = {**asdict(config), **{f"schedule.{k}": v for k, v in asdict(config.schedule).items()}}
    usual |= {f"schedule.{k}": v for k, v in usual["schedule"].items()}
    switches = ("input", "bottleneck", "contrastive", "target", "masks", "gap_s")
    rows = {key: value for key, value in flat.items() if key in switches or value != usual[key]}
    rows.pop("schedule", None)
    source = ", ".join(f"{key} {value}" for key, value in found.extra.get("source", {}).items())
    return (
        f"<h1>Latent motion: {html.escape(found.folder.name)}</h1><p>Trained on {html.escape(source)}; "
        f"{config.queries} x {config.code_dim} numbers a motion.</p>"
        f"<div class=two><div><h2>Config</h2>{_table(rows)}</div>"
    )


def _table(rows: dict) -> str:
    lines = (
        f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items()
    )
    return f"<table>{''.join(lines)}</table>"


def _curve(losses: list[float]) -> str:
    """The loss over the training, as a line on a logarithmic scale."""
    if len(losses) < 2:
        return ""
    y = np.log10(np.maximum(losses, 1e-9))
    low, high = float(y.min()), float(y.max()) + 1e-9
    x = np.linspace(60, 980, len(y))
    points = " ".join(
        f"{a:.1f},{200 - 180 * (b - low) / (high - low):.1f}" for a, b in zip(x, y, strict=True)
    )
    marks = "".join(
        f"<text x=52 y={200 - 180 * share + 4:.0f} text-anchor=end font-size=12>"
        f"{10 ** (low + share * (high - low)):.3g}</text>"
        f'<line x1=60 x2=980 y1={200 - 180 * share:.0f} y2={200 - 180 * share:.0f} stroke="#dde1e6"/>'
        for share in (0, 0.5, 1)
    )
    line = f'<polyline points="{points}" fill=none stroke="#0b66c2" stroke-width=2 />'
    return f'<h2>Loss</h2><svg viewBox="0 0 990 215">{marks}{line}</svg>'


def _section(title: str, said: str, rows: list[list[np.ndarray | None]]) -> str:
    return (
        f'<h2>{title}</h2><p>{said}</p><figure><img alt="" src="{embedded(sheet(rows))}"></figure>'
        if rows
        else ""
    )


def _paintings(shown: Shown) -> str:
    chosen = in_turn(shown)[:PAINTED]
    rows = [[shown.first(i) for i in chosen], [shown.later(i) for i in chosen], paint(shown, chosen, chosen)]
    said = "Above the first frame, in the middle the later one, below what the model paints of the later one."
    if shown.net.config.target == "features":
        said += " It paints features: shown is the real frame whose features are nearest."
    return _section("Painted", said, [list(row) for row in rows])


def _swaps(shown: Shown) -> str:
    motions = in_turn(shown)[:SWAPPED]
    frames = list(reversed(motions))
    rows: list[list[np.ndarray | None]] = [[None, *(shown.pair(i) for i in motions)]]
    for frame in frames:
        painted = paint(shown, [frame] * len(motions), motions)
        rows.append([shown.first(frame), *painted])
    said = (
        "The motion above each column (first frame in cyan, later in red) applied to the first frame of "
        "another recording, at the left of each row."
    )
    return _section("Motion swapped", said, rows)


def _neighbours(shown: Shown) -> str:
    if shown.robot.all() or not shown.robot.any():
        return ""
    z = np.zeros_like(shown.read.z)
    for side in (True, False):
        own = shown.read.z[shown.robot == side]
        z[shown.robot == side] = (own - own.mean(0)) / (own.std(0) + 1e-6)
    z /= np.linalg.norm(z, axis=1, keepdims=True) + 1e-9
    rows = []
    for side in (True, False):
        others = np.flatnonzero(shown.robot != side)
        for asked in liveliest(shown, side)[:ASKED]:
            near = others[np.argsort(-z[others] @ z[asked])]
            rows.append(
                [shown.pair(asked), None, *(shown.pair(i) for i in one_a_recording(shown, near)[:NEAREST])]
            )
    said = (
        "At the left a pair of frames, beside it the pairs of the other embodiment whose motion is nearest, "
        "by the cosine of motions in each embodiment's own spread; one pair a recording."
    )
    return _section("Neighbours across embodiments", said, rows)


def _words(shown: Shown) -> str:
    if shown.read.words is None:
        return ""
    said = shown.read.words[:, 0]
    words, counts = np.unique(said, return_counts=True)
    rows: list[list[np.ndarray | None]] = []
    for word in words[np.argsort(-counts)][:WORDS]:
        where = np.random.default_rng(0).permutation(np.flatnonzero(said == word))
        rows.append([shown.pair(i) for i in one_a_recording(shown, where)[: 2 * EXAMPLES]])
    told = f"A row a word of the first of {shown.net.config.queries} places, the most frequent first."
    return _section("Words", told, rows)
