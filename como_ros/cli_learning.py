"""The researcher's verbs of the `como` command; como_ros/cli.py lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from como_ros.results import Input, Json, OptionalInput, Out, Preset, Spread, Task, must_exist, run, say
from policies.spaces import EVALUATION_SEEDS_FROM

MotionPreset = Annotated[
    str, tyro.conf.arg(metavar="NAME", help="debug, lab, paper, paper_masked, or a column of the ablations.")
]
Engines = Annotated[str, tyro.conf.arg(metavar="NAMES", help="onnx, tensorrt_rtx, or both with a comma.")]


def encoder_train(
    *, bags: Input, videos: OptionalInput = None, preset: Preset = "lab", out: Out, json: Json = None
) -> None:
    """Pre-train the lab's visual encoder on recorded images."""
    must_exist(bags, videos)
    from training.encoder import train

    run(json, train, bags, videos, out, preset)


def motion_train(
    *,
    encoder: Input,
    bags: OptionalInput = None,
    videos: OptionalInput = None,
    masks: OptionalInput = None,
    preset: MotionPreset = "lab",
    out: Out,
    json: Json = None,
) -> None:
    """Train a latent-motion model on frames alone and write a page about it. --masks: made elsewhere."""
    must_exist(encoder, bags, videos, masks)
    from training.motion_run import train

    run(json, train, bags, videos, encoder, out, preset, masks)


def motion_score(model: Positional[Input], *, bags: Input, json: Json = None) -> None:
    """Measure on robot episodes what a latent-motion model knows of the motion."""
    must_exist(model, bags)
    from training.metrics import score

    run(json, score, model, bags)


def motion_ablate(
    *,
    encoder: Input,
    bags: Input,
    videos: Input,
    held_out: Input,
    held_out_videos: OptionalInput = None,
    columns: tuple[str, ...] = (),
    seeds: int = 3,
    steps: int = 400,
    out: Out,
    report: OptionalInput = None,
    json: Json = None,
) -> None:
    """Train every column of the papers' ablations alike and measure it; goes on where it stopped."""
    must_exist(encoder, bags, videos, held_out, held_out_videos, report)
    from training.latent_motion.ablation import ablate

    run(json, ablate, encoder, bags, videos, held_out, out, held_out_videos, columns, seeds, steps, report)


def motion_transfer(
    model: Positional[Input], *, bags: Input, videos: Input, truth: Input, json: Json = None
) -> None:
    """Measure whether a probe fitted on robot motion reads a hand's, by the lab's truth, and the reverse."""
    must_exist(model, bags, videos, truth)
    from training.transfer import transfer

    run(json, transfer, model, bags, videos, truth)


def motion_report(
    model: Positional[Input],
    *,
    bags: OptionalInput = None,
    videos: OptionalInput = None,
    out: Out,
    json: Json = None,
) -> None:
    """Write one HTML page about a motion model: its curve, what it paints, swaps, neighbours and words."""
    must_exist(model, bags, videos)
    from training.motion_page import write_page

    run(json, write_page, model, bags, videos, out)


def label(
    model: Positional[Input],
    *,
    videos: OptionalInput = None,
    bags: OptionalInput = None,
    ray: FlagCreatePairsOff[bool] = False,
    out: Out,
    json: Json = None,
) -> None:
    """Label videos, and bags, with the latent motion that a model sees in them; --ray: on Ray's workers."""
    must_exist(model, videos, bags)
    from training.label import label

    run(json, label, model, videos, out, bags, ray=ray)


def finetune(
    *,
    bags: Input,
    encoder: Input,
    labels: OptionalInput = None,
    videos: OptionalInput = None,
    mix: float = 0.5,
    preset: Preset = "lab",
    out: Out,
    force: bool = False,
    include_flagged: bool = False,
    json: Json = None,
) -> None:
    """Train a policy on demonstrations, co-mixed with labelled video; flagged ones only if asked for."""
    must_exist(bags, encoder, labels, videos)
    from training.finetune import finetune

    run(json, finetune, bags, labels, videos, encoder, mix, preset, out, force, include_flagged)


def export(run_folder: Positional[Input], *, out: Out, engines: Engines = "onnx", json: Json = None) -> None:
    """Turn a trained run into a bundle for the robot; every engine must agree with torch."""
    must_exist(run_folder)
    from policies.export import ExportConfig, export

    result = run(json, export, run_folder, out, ExportConfig(engines=tuple(engines.split(","))))
    for row in result["engines"]:
        parity = (
            "built" if row["cosine"] is None else f"cosine {row['cosine']:.6f}, max-abs {row['max_abs']:.1e}"
        )
        say(f"{row['name']}: {parity}")


def evaluate(
    bundle: Positional[Input],
    *,
    task: Task = "pick_place",
    episodes: int = 100,
    seed: int = EVALUATION_SEEDS_FROM,
    spread: Spread = "training",
    workers: int = 2,
    ros: bool = False,
    out: Path = Path("out/evaluate"),
    json: Json = None,
) -> None:
    """Count successes over consecutive seeds, in fast mode or with --ros on the whole graph."""
    must_exist(bundle)
    if ros:
        from como_ros.up import evaluate_on_graph

        run(json, evaluate_on_graph, bundle, task, episodes, seed, out, say, spread)
        return
    from como_ros.lab.evaluate import EvaluationConfig, evaluate

    def progress(row: dict[str, Any]) -> None:
        say(f"seed {row['seed']}: {'success' if row['success'] else row['reason']}")

    config = EvaluationConfig(workers=workers, spread=spread)
    run(json, evaluate, bundle, task, episodes, seed, config, progress)


def reproduce(
    *,
    out: Path = Path("bundles/lab"),
    work: Path = Path("out/reproduce"),
    task: Task = "pick_place",
    episodes: int = 50,
    clips: int = 300,
    preset: Preset = "lab",
    json: Json = None,
) -> None:
    """Make a bundle from raw seeds, stage by stage; an interrupted run goes on where it stopped."""
    from como_ros.reproduce import reproduce

    run(json, reproduce, out, work, task, episodes, clips, preset, say)
