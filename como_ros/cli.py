"""The `como` command: reads arguments, calls the function that does the work, prints and saves its result.

Every verb imports what it needs when it runs, so that `como --help` is quick and each verb asks only for the
extras it uses. What a user can mend is answered by one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.extras import SubcommandApp

from como_ros.errors import ComoError
from como_ros.results import must_exist, run, say
from policies.spaces import ContractError

Json = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help="Write the result there, as JSON.")]
Task = Annotated[str, tyro.conf.arg(metavar="TASK", help="Which task of the lab.")]
Out = Annotated[Path, tyro.conf.arg(metavar="DIR", help="A new folder for what is made.")]
Preset = Annotated[str, tyro.conf.arg(metavar="PRESET", help="A named configuration of the stage.")]
OptionalDir = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]
Bundle = Annotated[Path | None, tyro.conf.arg(metavar="DIR", help="The compiled policy, for autonomous.")]

EXTRA_OF = {"torch": "train", "onnx": "train", "safetensors": "train", "av": "lab", "mujoco": "lab"}
EXTRA_OF |= {"franka_sim": "lab", "robosuite": "lab", "cv2": "lab", "onnxruntime": "core", "rosbags": "core"}
EXTRA_OF |= {"franky": "core", "pyrealsense2": "core", "rclpy": "ros", "tensorrt_rtx": "gpu", "ray": "scale"}

MENDABLE = (
    ComoError,
    ContractError,
    FileNotFoundError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
)

app = SubcommandApp()
bags, encoder, motion = SubcommandApp(), SubcommandApp(), SubcommandApp()


@app.command
def lab(*, task: Task = "pick_place", seed: int = 0) -> None:
    """Serve the simulated arm on its real ports until stopped."""
    from como_ros.lab.fci import LabConfig, serve

    serve(LabConfig(task=task, seed=seed))


@app.command
def up(
    scenario: tyro.conf.Positional[Literal["teleop", "autonomous"]],
    *,
    lab: tyro.conf.FlagCreatePairsOff[bool] = False,
    task: Task = "pick_place",
    bundle: Bundle = None,
    device: str = "scripted",
    robot_host: str = "172.16.0.2",
    serials: tuple[str, ...] = (),
    episodes: int = 0,
    seed: int = 0,
    out: Path = Path("out/episodes"),
    json: Json = None,
) -> None:
    """Bring up the whole graph; without --episodes it stays up until interrupted."""
    must_exist(bundle)
    from como_ros import graphs
    from como_ros.up import up

    choices = graphs.Deployment(lab, task, str(bundle or ""), str(out), robot_host, device, serials)
    run(json, up, scenario, choices, episodes, seed, say)


@app.command
def demos(
    *,
    task: Task = "pick_place",
    episodes: int = 50,
    seed: int = 0,
    out: Out,
    workers: int = 2,
    json: Json = None,
) -> None:
    """Record scripted demonstrations as bags, in fast mode."""
    from como_ros.lab.demos import make_demos

    run(json, make_demos, task, episodes, seed, out, workers)


@app.command
def videos(*, task: Task = "pick_place", clips: int = 50, seed: int = 0, out: Out, json: Json = None) -> None:
    """Draw mp4 clips of a human hand doing a task."""
    from como_ros.lab.hands import make_videos

    run(json, make_videos, task, clips, seed, out)


app.command(bags, name="bags", help="Recorded episodes.")


@bags.command(name="check")
def bags_check(folder: tyro.conf.Positional[Path], *, json: Json = None) -> None:
    """Say of every episode whether it is whole: rates, gaps, drops."""
    must_exist(folder)
    from como_ros.bag_checks import run_check

    run(json, run_check, folder)


app.command(encoder, name="encoder", help="The frozen visual encoder.")


@encoder.command(name="train")
def encoder_train(
    *, bags: Path, videos: OptionalDir = None, preset: Preset = "lab", out: Out, json: Json = None
) -> None:
    """Pre-train the lab's visual encoder on recorded images."""
    must_exist(bags, videos)
    from training.encoder import train

    run(json, train, bags, videos, out, preset)


@app.command
def demo(
    *,
    bundle: Path = Path("bundles/lab"),
    task: Task = "pick_place",
    episodes: int = 3,
    seed: int = 1000,
    out: Path = Path("out/demo"),
    json: Json = None,
) -> None:
    """Show the shipped policy at work: the whole graph in the lab, then bag and video."""
    must_exist(bundle)
    from como_ros.demo import run_demo

    run(json, run_demo, bundle, task, episodes, seed, out, say)


@app.command
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


@app.command
def label(
    model: tyro.conf.Positional[Path],
    *,
    videos: OptionalDir = None,
    bags: OptionalDir = None,
    out: Out,
    json: Json = None,
) -> None:
    """Label videos, and bags, with the latent motion that a model sees in them."""
    must_exist(model, videos, bags)
    from training.label import label

    run(json, label, model, videos, out, bags)


@app.command
def finetune(
    *,
    bags: Path,
    encoder: Path,
    labels: OptionalDir = None,
    videos: OptionalDir = None,
    mix: float = 0.5,
    preset: Preset = "lab",
    out: Out,
    force: bool = False,
    json: Json = None,
) -> None:
    """Train a policy on demonstrations, co-mixed with labelled video."""
    must_exist(bags, encoder, labels, videos)
    from training.finetune import finetune

    run(json, finetune, bags, labels, videos, encoder, mix, preset, out, force)


def _sentence(error: Exception) -> str:
    """What went wrong, and what to do, on one line."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; check the path"
    return " ".join(str(error).split())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code is 0, 2 for what the user can mend, 130 when interrupted."""
    try:
        app.cli(
            prog="como",
            description="From demonstrations and human video to a Franka that does it.",
            args=argv,
        )
    except MENDABLE as error:
        print(f"como: {_sentence(error)}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRA_OF:
            raise
        print(f"como: {name} is missing; pip install 'como_ros[{EXTRA_OF[name]}]' brings it", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
