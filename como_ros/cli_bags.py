"""The `como bags` verbs: recorded episodes checked, trimmed, exported and driven again."""

from __future__ import annotations

from tyro.conf import FlagCreatePairsOff, Positional
from tyro.extras import SubcommandApp

from como_ros.errors import ComoError
from como_ros.results import Input, Json, OptionalInput, Out, must_exist, run, say

bags = SubcommandApp()


@bags.command(name="check")
def bags_check(
    folder: Positional[Input], *, repair: FlagCreatePairsOff[bool] = False, json: Json = None
) -> None:
    """Say of every episode whether it is whole: rates, gaps, drops; --repair rewrites those cut short."""
    must_exist(folder)
    from como_ros.bag_checks import run_check

    rows = run(json, run_check, folder, repair)["episodes"]
    for row in rows:
        if row["repaired"]:
            say(f"{row['path']}: {row['repaired']}")
        say(f"{row['path']}: {'; '.join(row['problems']) or 'ok'}")
    if damaged := sum(not row["ok"] for row in rows):
        raise ComoError(f"{damaged} of {len(rows)} episodes in {folder} are not whole, for the reasons above")


@bags.command(name="trim")
def bags_trim(folder: Positional[Input], *, out: OptionalInput = None, json: Json = None) -> None:
    """Say how long nothing moves at both ends of every episode; --out takes trimmed copies."""
    must_exist(folder)
    from como_ros.bag_trim import run_trim

    rows = run(json, run_trim, folder, out)["rows"]
    for row in rows:
        if row["problem"]:
            say(row["problem"])
            continue
        idle = f"{row['lead_s']:.1f} s before and {row['tail_s']:.1f} s after it moves"
        say(f"{row['path']}: {idle} could go, of {row['seconds']:.1f} s")
    if left_out := sum(bool(row["problem"]) for row in rows):
        raise ComoError(
            f"{left_out} of {len(rows)} episodes in {folder} cannot be trimmed, for the reasons above"
        )


@bags.command(name="export")
def bags_export(
    folder: Positional[Input],
    *,
    out: Out,
    include_flagged: FlagCreatePairsOff[bool] = False,
    json: Json = None,
) -> None:
    """Write what training would see as a LeRobot dataset (v3.0); flagged episodes only if asked for."""
    must_exist(folder)
    from training.lerobot_export import export

    run(json, export, folder, out, include_flagged)


@bags.command(name="replay")
def bags_replay(
    folder: Positional[Input],
    *,
    lab: FlagCreatePairsOff[bool] = False,
    robot_host: str = "172.16.0.2",
    json: Json = None,
) -> None:
    """Drive an episode's recorded motion again, or every one in a folder; --lab also compares outcomes."""
    must_exist(folder)
    from como_ros.graphs import Deployment
    from como_ros.replay import run_replay

    run(json, run_replay, folder, Deployment(lab=lab, robot_host=robot_host), say)
