"""Fast mode against the real protocol: same set-points, same motion, same outcome; same seed, same bytes."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mujoco
import numpy as np
import pytest
from lab_moves import go_home, paced
from lab_server import running_lab

from como_ros.bench_agreement import run_bench
from como_ros.control.gains import COLLISION_N, COLLISION_NM
from como_ros.drivers.franka import FrankaArm, FrankaConfig
from como_ros.lab.fast import FastLab
from como_ros.lab.operator import OPEN_M
from como_ros.lab.tasks import TASKS, get_task
from policies.spaces import matrix_from_quaternion, quaternion_from_matrix

ROOT = Path(__file__).parents[2]
SECONDS = 10.0
STEP_M = 0.05
FASTEST_M_S, FASTEST_RAD_S = 0.4, 0.8
HIGHER_M = np.array([0, 0, 0.12, 0, 0, 0, 0])


def set_point(start: np.ndarray, time_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Sines with a turn of the wrist, a step of 5 cm and back, then a way to a cube in the air."""
    if time_s < 4:
        return _swing(start, time_s)
    if time_s < 6.5:
        beside = np.array([0, STEP_M, 0, 0, 0, 0, 0]) * (4.3 < time_s < 5.5)
        return start + beside, np.zeros(6)
    task = get_task("pick_place")
    things = {name: pose.tolist() for name, pose in task.sample(77).places.items()}
    plan = task.plan(things, (start - HIGHER_M)[:3], 77)
    pose7, twist, _ = plan.at(time_s - 6.5)
    return pose7 + HIGHER_M, twist


def _swing(start: np.ndarray, time_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Begins and ends at `start`, at rest."""
    amplitude, rate = np.array([0.05, 0.07, 0.04, 0.35]), 2 * np.pi * np.array([0.5, 0.25, 0.75, 0.25])
    envelope, slope = np.sin(np.pi * time_s / 4) ** 2, np.pi / 4 * np.sin(np.pi * time_s / 2)
    wave, speed = np.sin(rate * time_s), rate * np.cos(rate * time_s)
    *xyz, yaw = envelope * amplitude * wave
    *velocity, spin = amplitude * (envelope * speed + slope * wave)
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    turned = quaternion_from_matrix(turn @ matrix_from_quaternion(start[3:]))
    return np.concatenate([start[:3] + xyz, turned]), np.array([*velocity, 0, 0, spin])


def record(arm: FrankaArm, client) -> list[dict]:
    """What the arm was told, and where it was in the lab's own time just after."""
    start, rows = arm.read().pose7, [{**client.truth(), "told": None, "took_s": 0.0}]
    for elapsed_s in paced(SECONDS):
        told = set_point(start, elapsed_s)
        begun = time.monotonic()
        arm.set_target(*told)
        assert arm.fault() == ""
        rows.append({**client.truth(), "told": told, "took_s": time.monotonic() - begun})
    return rows


def replay(lab: FastLab, rows: list[dict]) -> np.ndarray:
    """The fast mode's end effector, told the same at the same moments of simulated time."""
    lab.reset(3, start_q=np.array(rows[0]["joints"]))
    poses, told = [], (np.array(rows[0]["ee"]), np.zeros(6))
    for row in rows[1:]:
        ahead_s = row["time"] - rows[0]["time"] - lab.time_s
        lab.step((*told, OPEN_M), round(ahead_s / lab.model.opt.timestep))
        poses.append(lab.ee_pose7)
        told = row["told"]
    return np.array(poses)


def test_fast_mode_moves_as_the_real_client_does(record_property):
    with running_lab(seed=3) as server:
        client, arm = server.client(), FrankaArm(FrankaConfig())
        go_home(arm)
        time.sleep(0.3)
        rows = record(arm, client)
        arm.close()
        client.close()
    real = np.array([row["ee"] for row in rows[1:]])
    told = np.array([row["told"][0] for row in rows[1:]])
    fast = replay(FastLab(get_task("pick_place"), render=False), rows)
    apart_mm = 1e3 * np.linalg.norm(fast[:, :3] - real[:, :3], axis=1)
    turned = 2 * np.arccos(np.clip(np.abs(np.sum(fast[:, 3:] * real[:, 3:], axis=1)), 0, 1))
    rms_mm = float(np.sqrt(np.mean(apart_mm**2)))
    unsure_s = max(row["took_s"] for row in rows)  # of when the arm was told
    said = f"{rms_mm:.2f} mm RMS, {apart_mm.max():.2f} mm at most, {turned.max() * 1e3:.1f} mrad at most"
    record_property("apart", said)
    assert np.ptp(real[:, 1]) > 0.08, "the arm hardly moved"
    assert np.linalg.norm(real[:, :3] - told[:, :3], axis=1).max() > 0.02, "nothing in it was hard to follow"
    assert rms_mm <= 1.5, said
    assert apart_mm.max() <= 6 + 1e3 * FASTEST_M_S * unsure_s, said
    assert turned.max() <= 0.02 + FASTEST_RAD_S * unsure_s, said


def test_a_plan_that_does_not_miss_succeeds_in_both_modes():
    result = run_bench("pick_place", episodes=1, seed=4)
    row = result["per_episode"][0]
    assert row["miss_m"] == 0
    assert row["fast"] == row["fci"] == {"success": True, "reason": ""}
    assert result["rows"][0]["ok"]


def test_pressing_on_the_table_stops_the_arm_as_its_collision_reflex_would():
    config = FrankaConfig()
    assert (config.collision_torque_nm, config.collision_force_n) == (COLLISION_NM, COLLISION_N)
    lab = FastLab(get_task("pick_place"), render=False)
    lab.reset(0)
    start = lab.ee_pose7
    reached, pressed_n = {}, {}
    for depth_m in (0.02, 0.04):  # 30 N and 60 N at 1500 N/m
        lab.reset(0)
        bottom = np.array([0.4, 0.2, -depth_m, *start[3:]])
        lab.follow(lambda t, low=bottom: (start + (low - start) * min(t / 8, 1), np.zeros(6), 0.0), 9.0)
        reached[depth_m], pressed_n[depth_m] = lab.success()[1], lab.wrench[2]
    assert "cm from the tray" in reached[0.02]
    assert pressed_n[0.02] == pytest.approx(-30, abs=6)  # as through the protocol, in test_lab_contacts.py
    assert reached[0.04].startswith("collision: 4")
    assert reached[0.04].endswith("N along z stopped the arm")


def fingerprint(task: str, seeds: list[int]) -> str:
    """Of the whole state after 10 s of the operator's plan for the last of some seeds."""
    lab = FastLab(get_task(task), render=False)
    for seed in seeds:
        lab.reset(seed)
        lab.follow(lab.operator_plan(seed).at, SECONDS)
    state = np.empty(mujoco.mj_stateSize(lab.model, mujoco.mjtState.mjSTATE_INTEGRATION))
    mujoco.mj_getState(lab.model, lab.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    return hashlib.sha256(state.tobytes()).hexdigest()


def test_same_seed_gives_the_same_bytes_after_other_episodes_and_in_another_process():
    script = "from test_agreement import *; print(*(fingerprint(task, [5]) for task in TASKS))"
    path = {"PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parent, ROOT / "test")))}
    command, env = [sys.executable, "-c", script], {**os.environ, **path}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as fresh:
        here = [fingerprint(task, [6, 5]) for task in TASKS]
        there, _ = fresh.communicate(timeout=120)
    assert here == there.split()


def test_different_seeds_give_different_bytes():
    assert len({fingerprint("pick_place", [seed]) for seed in (5, 6, 7)}) == 3


def workers_of(pid: int) -> list[int]:
    """Processes that a verb has spawned and that have begun to work: they have loaded a policy."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    children = [child for thread in threads for child in text_of(thread / "children").split()]
    return [int(child) for child in children if "onnxruntime" in text_of(Path(f"/proc/{child}/maps"))]


def text_of(path: Path) -> str:
    """Nothing of a thread or process that has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def evaluation() -> tuple[subprocess.Popen[str], list[int]]:
    """`como evaluate` with two workers under way."""
    command = [Path(sys.executable).with_name("como"), "evaluate", "bundles/lab", "--episodes", "9"]
    verb = subprocess.Popen(
        [*command, "--seed", "100"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while len(workers_of(verb.pid)) < 2:
        assert verb.poll() is None, verb.stderr.read()
        time.sleep(0.05)
    return verb, workers_of(verb.pid)


def test_a_worker_that_is_killed_ends_the_verb_with_a_sentence():
    verb, workers = evaluation()
    os.kill(workers[0], signal.SIGKILL)
    _, said = verb.communicate(timeout=30)  # returns once no process holds its pipes any more
    assert verb.returncode == 2
    assert said.startswith("como: one of 2 worker processes was killed")


def test_no_worker_outlives_a_killed_verb():
    verb, workers = evaluation()
    verb.kill()
    try:
        verb.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        raise
