"""The `como` command: reads arguments, calls the function that does the work, prints and saves its result.

Every verb imports what it needs when it runs, so that `como --help` is quick and each verb asks only for the
extras it uses. What a user can mend is answered by one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tyro.conf import FlagCreatePairsOff, Positional
from tyro.extras import SubcommandApp

from como_ros import cli_bags, cli_bench, cli_learning
from como_ros.errors import ComoError
from como_ros.results import (
    Fault,
    Input,
    Json,
    OptionalInput,
    Out,
    Robot,
    Spread,
    Task,
    must_exist,
    run,
    say,
)
from policies.spaces import ContractError

EXTRA_OF = {"torch": "train", "onnx": "train", "safetensors": "train", "av": "lab", "mujoco": "lab"}
EXTRA_OF |= {"franka_sim": "lab", "robosuite": "lab", "cv2": "lab", "onnxruntime": "core", "rosbags": "core"}
EXTRA_OF |= {"franky": "core", "pyrealsense2": "core", "rclpy": "ros", "tensorrt_rtx": "gpu", "ray": "scale"}

NO_EGL = "the lab cannot draw without a screen; apt install libegl1 libgl1-mesa-dri, see `como doctor --lab`"
"""MuJoCo says it in two ways, with an ImportError and through PyOpenGL with an AttributeError."""
MENDABLE = (ComoError, ContractError, OSError)

app = SubcommandApp()
encoder, motion = SubcommandApp(), SubcommandApp()


@app.command
def lab(
    *,
    task: Task = "pick_place",
    seed: int = 0,
    spread: Spread = "training",
    robot: Robot = "panda",
    fault: Fault = "",
) -> None:
    """Serve the simulated arm on its real ports until stopped."""
    import franka_sim  # noqa: F401 - said here if it is missing

    settings = {"task": task, "seed": seed, "spread": spread, "robot": robot, "fault": fault}
    given = [f"--{name}={value}" for name, value in settings.items()]
    # a fresh interpreter: only there can numpy be kept from threads that a real-time lab must not have
    os.execv(sys.executable, [sys.executable, "-m", "como_ros.lab.fci", *given])


@app.command
def doctor(
    *,
    lab: FlagCreatePairsOff[bool] = False,
    robot_host: str = "",
    out: Path = Path("out/episodes"),
    json: Json = None,
) -> None:
    """Check this machine before an arm moves; --lab leaves out what a robot needs, --robot-host asks one."""
    from como_ros.doctor import run_doctor

    checks = run(json, run_doctor, out, lab, robot_host)["checks"]
    for check in checks:
        say(f"{'ok  ' if check['ok'] else 'FAIL'} {check['name']}: {check['detail']}")
    if failed := [check["name"] for check in checks if not check["ok"]]:
        raise ComoError(
            f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}; remedies stand above"
        )


@app.command
def up(
    scenario: Positional[Literal["teleop", "autonomous"]],
    *,
    lab: FlagCreatePairsOff[bool] = False,
    task: Task = "pick_place",
    spread: Spread = "training",
    bundle: OptionalInput = None,
    device: str = "",
    robot_host: str = "172.16.0.2",
    robot: Robot = "panda",
    serials: tuple[str, ...] = (),
    cameras: Literal["ours", "others"] = "ours",
    compressed: FlagCreatePairsOff[bool] = False,
    console: FlagCreatePairsOff[bool] = False,
    host: str = "127.0.0.1",
    port: int = 8080,
    leader_port: str = "",
    leader_calibration: str = "gello.json",
    episodes: int = 0,
    seed: int = 0,
    out: Path = Path("out/episodes"),
    json: Json = None,
) -> None:
    """Bring up the whole graph; without --episodes it stays up until interrupted.

    --cameras others starts no camera node: another driver publishes under the same names. --compressed
    records colour pictures as JPEG.

    --console serves the operator's page on --host and --port; the devices gizmo, keyboard, gello and guiding
    bring it.
    """
    must_exist(bundle)
    from como_ros.graphs import Deployment
    from como_ros.up import up

    choices = Deployment(
        lab=lab,
        task=task,
        spread=spread,
        bundle=str(bundle or ""),
        out=str(out),
        robot_host=robot_host,
        robot=robot,
        device=device,
        serials=serials,
        cameras=cameras,
        compressed=compressed,
        console=console,
        host=host,
        port=port,
        leader_port=leader_port,
        leader_calibration=leader_calibration,
    )
    ended = run(json, up, scenario, choices, episodes, seed, say)
    if ended["episodes"] < episodes:
        raise KeyboardInterrupt  # what was counted has been said and saved, and is not what was asked for


@app.command
def demo(
    *,
    bundle: Input = Path("bundles/lab"),
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
def demos(
    *,
    task: Task = "pick_place",
    episodes: int = 50,
    seed: int = 0,
    spread: Spread = "training",
    cameras: FlagCreatePairsOff[bool] = True,
    out: Out,
    workers: int = 2,
    json: Json = None,
) -> None:
    """Record scripted demonstrations as bags, in fast mode; --no-cameras leaves the images out."""
    from como_ros.lab.demos import make_demos

    run(json, make_demos, task, episodes, seed, out, workers, cameras, spread)


@app.command
def videos(
    *,
    task: Task = "pick_place",
    clips: int = 50,
    seed: int = 0,
    spread: Spread = "training",
    fps: int = 15,
    size_px: int = 224,
    out: Out,
    workers: int = 2,
    json: Json = None,
) -> None:
    """Draw mp4 clips of a human hand doing a task; rooms and hands vary alike in either range of layouts."""
    from como_ros.lab.hands import VideoConfig, make_videos

    config = VideoConfig(fps=fps, size_px=size_px, spread=spread)
    run(json, make_videos, task, clips, seed, out, config, workers)


@app.command
def gallery(
    *, out: Path = Path("docs/pictures"), tasks: tuple[str, ...] = (), seed: int = 1, json: Json = None
) -> None:
    """Draw a contact sheet and a short film of every task, or of the named ones."""
    from como_ros.lab.gallery import make_gallery

    run(json, make_gallery, out, tasks, seed)


app.command(cli_bags.bags, name="bags", help="Recorded episodes.")
app.command(cli_bench.bench, name="bench", help="Paired ratios against named baselines.")
app.command(encoder, name="encoder", help="The frozen visual encoder.")
app.command(motion, name="motion", help="Latent motion from video.")
encoder.command(name="train")(cli_learning.encoder_train)
motion.command(name="train")(cli_learning.motion_train)
motion.command(name="score")(cli_learning.motion_score)
motion.command(name="ablate")(cli_learning.motion_ablate)
motion.command(name="transfer")(cli_learning.motion_transfer)
motion.command(name="report")(cli_learning.motion_report)
app.command(cli_learning.label)
app.command(cli_learning.finetune)
app.command(cli_learning.export)
app.command(cli_learning.evaluate)
app.command(cli_learning.reproduce)


def _sentence(error: Exception) -> str:
    """What went wrong, and what to do, on one line."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; give another path"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{error.strerror}; make room, or give another folder for the result"
    return " ".join(str(error).split())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code is 0, 2 for what the user can mend, 130 when interrupted."""
    code = _run(argv)
    nodes = sys.modules.get("como_ros.nodes.pulse")  # with ROS, if this verb used it
    if nodes and argv is None:
        nodes.leave(code)
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        app.cli(
            prog="como",
            description="From demonstrations and human video to a Franka that does it.",
            args=argv,
        )
    except BrokenPipeError:  # whoever read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except MENDABLE as error:
        print(f"como: {_sentence(error)}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRA_OF:
            raise
        print(f"como: {name} is missing; pip install 'como_ros[{EXTRA_OF[name]}]' brings it", file=sys.stderr)
        return 2
    except (ImportError, AttributeError) as error:
        if "egl" not in str(error).lower():
            raise
        print(f"como: {NO_EGL} ({_sentence(error)})", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
