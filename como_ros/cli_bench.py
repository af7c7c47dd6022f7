"""The `como bench` verbs: each says its rows, and fails where a gate was missed."""

from __future__ import annotations

from typing import Any

from tyro.conf import FlagCreatePairsOff
from tyro.extras import SubcommandApp

from como_ros.errors import ComoError
from como_ros.results import Json, Log, OptionalInput, Task, must_exist, run, say

bench = SubcommandApp()


@bench.command(name="wire")
def bench_wire(*, pairs: int = 15, json: Json = None) -> None:
    """What images cost on the wire and episodes cost to read, against baselines in the same run."""
    from como_ros.bench_wire import run_bench
    from como_ros.nodes.wiring import message_class

    _judge_ratios(run(json, run_bench, message_class("/front/color/image_raw"), pairs)["rows"])


@bench.command(name="agreement")
def bench_agreement(
    *, task: Task = "pick_place", episodes: int = 20, seed: int = 0, json: Json = None
) -> None:
    """Whether plans end alike in fast mode and through the real protocol, misses included."""
    from como_ros.bench_agreement import run_bench

    _judge_ratios(run(json, run_bench, task, episodes, seed, say)["rows"])


@bench.command(name="lab")
def bench_lab(*, minutes: float = 0.0, seed: int = 0, log: Log = None, json: Json = None) -> None:
    """Sine, grasp and hold through the real protocol with the cameras drawn; --minutes of pick-and-place."""
    from como_ros.bench_lab import run_bench

    _judge_values(run(json, run_bench, minutes, seed, log, say)["rows"])


@bench.command(name="recorder")
def bench_recorder(
    *,
    seconds: float = 60.0,
    louder_s: float = 10.0,
    kills: int = 0,
    out: OptionalInput = None,
    json: Json = None,
) -> None:
    """Record a station's load, then louder until something is lost; --kills times a kill instead."""
    must_exist(out)
    from como_ros.bench_recorder import run_bench
    from como_ros.bench_recorder_kills import run_kills

    result = (
        run(json, run_kills, kills, out, say) if kills else run(json, run_bench, seconds, louder_s, out, say)
    )
    _judge_values(result["rows"])


@bench.command(name="camera")
def bench_camera(*, seconds: float = 60.0, json: Json = None) -> None:
    """Two VGA cameras at 30 Hz through librealsense and the camera node to another process."""
    from como_ros.bench_camera import run_bench

    _judge_values(run(json, run_bench, seconds, say)["rows"])


@bench.command(name="servo")
def bench_servo(
    *, minutes: float = 10.0, seed: int = 0, lab: FlagCreatePairsOff[bool] = False, json: Json = None
) -> None:
    """How smooth the set-points are that chunks become; simulated, or with --lab through the arm node."""
    from como_ros.bench_servo import run_bench, run_lab

    found = run(json, run_lab, minutes, seed, say) if lab else run(json, run_bench, minutes, seed)
    _judge_values(found["rows"])


@bench.command(name="pace")
def bench_pace(*, seconds: float = 5.0, rounds: int = 4, json: Json = None) -> None:
    """How late set-points are while both cores burn, from their own process and from a thread."""
    from como_ros.bench_pace import run_bench

    _judge_values(run(json, run_bench, seconds, rounds, say)["rows"])


@bench.command(name="station")
def bench_station(*, episodes: int = 10, taken: float = 0.0, seed: int = 0, json: Json = None) -> None:
    """Whether this machine carries a recording station, also with a share of every core --taken away."""
    from como_ros.bench_station import run_bench

    _judge_values(run(json, run_bench, episodes, taken, seed, say)["rows"])


@bench.command(name="kills")
def bench_kills(*, rounds: int = 20, seed: int = 0, json: Json = None) -> None:
    """Kill one node after the other while the arm moves: it holds, nothing moves until it is armed again."""
    from como_ros.bench_kills import run_bench

    _judge_values(run(json, run_bench, rounds, seed, say=say)["rows"])


def _judge_values(rows: list[dict[str, Any]]) -> None:
    """Rows of como_ros.gates."""
    for row in rows:
        say(f"{row['id']} {row['what']}: {row['value']:.4g}, gate {row['gate']:.4g}")
    _refuse_missed(rows)


def _judge_ratios(rows: list[dict[str, Any]]) -> None:
    """Rows with an interval."""
    for row in rows:
        told = f"{row['ratio']:.4f} ({row['low']:.4f} to {row['high']:.4f}), gate {row['gate']:.4g}"
        say(f"{row['id']} {row['what']}: {told}")
    _refuse_missed(rows)


def _refuse_missed(rows: list[dict[str, Any]]) -> None:
    if missed := [row["id"] for row in rows if not row["ok"]]:
        raise ComoError(
            f"{', '.join(missed)} missed the gate; try again on a quiet machine, then look for a cause"
        )
