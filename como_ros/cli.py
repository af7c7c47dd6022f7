"""The `como` command: reads arguments, calls the function that does the work, prints and saves its result.

Every verb imports what it needs when it runs, so that `como --help` is quick and each verb asks only for the
extras it uses. What a user can mend is answered by one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import json as json_format
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.extras import SubcommandApp

from como_ros.errors import ComoError
from policies.spaces import ContractError

Json = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help="Write the result there, as JSON.")]
Task = Annotated[str, tyro.conf.arg(metavar="TASK", help="Which task of the lab.")]
Out = Annotated[Path, tyro.conf.arg(metavar="DIR", help="A new folder for what is made.")]
Preset = Annotated[str, tyro.conf.arg(metavar="PRESET", help="A named configuration of the stage.")]

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

    _run(json, make_demos, task, episodes, seed, out, workers)


@app.command
def videos(*, task: Task = "pick_place", clips: int = 50, seed: int = 0, out: Out, json: Json = None) -> None:
    """Draw mp4 clips of a human hand doing a task."""
    from como_ros.lab.hands import make_videos

    _run(json, make_videos, task, clips, seed, out)


app.command(encoder, name="encoder", help="The frozen visual encoder.")


@encoder.command(name="train")
def encoder_train(
    *, bags: Path, videos: Path | None = None, preset: Preset = "lab", out: Out, json: Json = None
) -> None:
    """Pre-train the lab's visual encoder on recorded images."""
    _must_exist(bags, videos)
    from training.encoder import train

    _run(json, train, bags, videos, out, preset)


def _must_exist(*paths: Path | None) -> None:
    """Refuse a missing input before anything slow is imported."""
    for path in paths:
        if path is not None and not path.exists():
            raise ComoError(f"{path} does not exist; check the path")


def _run(json: Path | None, work: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Do the work, print its figures, save them where asked."""
    if json is not None and (json.is_dir() or not json.absolute().parent.is_dir()):
        raise ComoError(f"--json {json} is not a file in an existing folder")
    result = _figures(work(*args, **options))
    for key, value in result.items():
        if not isinstance(value, (list, dict)) or key == "ci95":
            print(f"{key}: {_text(value)}")
    if json is not None:
        _write_whole(json, json_format.dumps(result, indent=1, default=float) + "\n")


def _figures(result: Any) -> dict[str, Any]:
    """A result as a dictionary; of a dataclass the numbers and words, not the weights."""
    if not is_dataclass(result):
        return dict(result or {})
    named = {field.name: getattr(result, field.name) for field in fields(result)}
    return {name: value for name, value in named.items() if isinstance(value, (int, float, str))}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _write_whole(path: Path, text: str) -> None:
    """All or nothing: nobody ever reads half a result."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(text)
    half.replace(path)


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
