"""`como reproduce`: from raw seeds to a bundle by the commands a person would type, each logged and timed.

A stage whose result is already there is skipped, so an interrupted run goes on where it stopped. A folder of
work belongs to one recipe: other choices or another version of the code are refused.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from como_ros.bag_writer import git_hash
from como_ros.errors import ComoError
from como_ros.runs import alone_in, die_with


@dataclass(frozen=True)
class Stage:
    """One `como` command and the file that says it is done."""

    name: str
    arguments: str
    done: str


STAGES = (
    Stage("demos", "demos --task {task} --episodes {episodes} --seed 0 --out {work}/demos", "demos.json"),
    Stage("videos", "videos --task {task} --clips {clips} --seed 0 --out {work}/videos", "videos.json"),
    Stage(
        "encoder",
        "encoder train --bags {work}/demos --videos {work}/videos --preset {preset} --out {work}/encoder",
        "encoder.json",
    ),
    Stage(
        "motion",
        "motion train --encoder {work}/encoder --bags {work}/demos --videos {work}/videos --preset {preset}"
        " --out {work}/motion",
        "motion.json",
    ),
    Stage(
        "label",
        "label {work}/motion --videos {work}/videos --bags {work}/demos --out {work}/labels",
        "label.json",
    ),
    Stage(
        "finetune",
        "finetune --bags {work}/demos --labels {work}/labels --videos {work}/videos --encoder {work}/encoder"
        " --preset {preset} --out {work}/run",
        "finetune.json",
    ),
    Stage("export", "export {work}/run --out {out}", "export.json"),
)


REDONE = ("demos", "videos")
"""Stages that cannot go on in the middle: an unfinished result of theirs is made anew."""


def reproduce(
    out: Path,
    work: Path,
    task: str = "pick_place",
    episodes: int = 50,
    clips: int = 300,
    preset: str = "lab",
    say: Callable[[str], None] = print,
) -> dict:
    """Run every stage in order; result: seconds per stage and the bundle's folder."""
    names = {"task": task, "episodes": episodes, "clips": clips, "preset": preset, "work": work, "out": out}
    with alone_in(work):
        _claim(work, {**names, "code": git_hash()})
        seconds = _run_stages(work, names, say)
    return {"bundle": str(out), "seconds": sum(seconds.values()), "stages": seconds}


def _run_stages(work: Path, names: dict[str, object], say: Callable[[str], None]) -> dict[str, float]:
    """Seconds by stage; a stage is killed with whoever began it, so that none goes on unseen."""
    seconds: dict[str, float] = {}
    for stage in STAGES:
        result = work / stage.done
        if result.exists():
            say(f"{stage.name}: done before, see {result}")
            continue
        arguments = [word.format(**names) for word in shlex.split(stage.arguments)]
        if stage.name in REDONE and (unfinished := work / stage.name).exists():
            shutil.rmtree(unfinished)
        say("como " + " ".join(arguments))
        started = time.monotonic()
        command = [sys.executable, "-m", "como_ros.cli", *arguments, "--json", str(result)]
        code = subprocess.call(command, preexec_fn=partial(die_with, os.getpid()))
        if code:
            raise ComoError(f"stage {stage.name} ended with code {code}; its command is printed above")
        seconds[stage.name] = round(time.monotonic() - started, 1)
        say(f"{stage.name}: {seconds[stage.name]:.0f} s")
    return seconds


def _claim(work: Path, recipe: dict) -> None:
    """Write the recipe into a new folder of work; refuse to go on with another one, or over other work."""
    text = json.dumps({name: str(value) for name, value in recipe.items()}, indent=1)
    path = work / "recipe.json"
    begun = path.exists()
    if begun and path.read_text() != text and any((work / stage.done).exists() for stage in STAGES):
        raise ComoError(f"{work} was begun with another recipe, see {path}; give another --work folder")
    if not begun and (there := [work / name for name in REDONE if (work / name).exists()]):
        raise ComoError(f"{there[0]} is not of this recipe and would be deleted; give another --work folder")
    path.write_text(text)
