"""What all verbs of the command line share: option types, and what they do with inputs and results."""

from __future__ import annotations

import json as json_format
import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from como_ros.errors import ComoError

Input = Annotated[Path, tyro.conf.arg(metavar="DIR")]
OptionalInput = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]
Out = Annotated[Path, tyro.conf.arg(metavar="DIR", help="The folder for what is made.")]
Json = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help="Write the result there, as JSON.")]
Log = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help="Write figures there as they come.")]
Task = Annotated[str, tyro.conf.arg(metavar="TASK", help="Which task of the lab.")]
Spread = Annotated[
    str, tyro.conf.arg(metavar="RANGE", help="What layouts are drawn from: training, or the wider held_out.")
]
Robot = Annotated[Literal["panda", "fr3"], tyro.conf.arg(help="Whose limits hold.")]
Fault = Annotated[str, tyro.conf.arg(metavar="NAME[=VALUE]", help="A fault of the lab to start with.")]
Preset = Annotated[Literal["debug", "lab"], tyro.conf.arg(help="debug: two steps, to see that it runs.")]


def must_exist(*paths: Path | None) -> None:
    """Refuse a missing input before anything slow is imported."""
    for path in paths:
        if path is not None and not path.exists():
            raise ComoError(f"{path} does not exist; give another path")


def run(json: Path | None, work: Callable[..., Any], *args: Any, **options: Any) -> dict[str, Any]:
    """Do the work, print its figures, save them where asked."""
    if json is not None and (json.is_dir() or not json.absolute().parent.is_dir()):
        raise ComoError(f"--json {json} is not a file in an existing folder")
    result = _figures(work(*args, **options))
    for key, value in result.items():
        if not isinstance(value, list) or key == "ci95":
            print(f"{key}: {_text(value)}")
    if json is not None:
        _write_whole(json, json_format.dumps(result, indent=1, default=float) + "\n")
    return result


def _figures(result: Any) -> dict[str, Any]:
    """A result as a dictionary; of a dataclass the numbers and words, not the weights."""
    if not is_dataclass(result):
        return dict(result or {})
    named = {field.name: getattr(result, field.name) for field in fields(result)}
    return {name: value for name, value in named.items() if isinstance(value, (int, float, str))}


def say(sentence: str) -> None:
    print(sentence, flush=True)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _write_whole(path: Path, text: str) -> None:
    """All or nothing: nobody ever reads half a result."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_text(text)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
