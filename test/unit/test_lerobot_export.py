"""Bags as a LeRobot dataset: what training sees is in it, exactly where its format says."""

import json
import os
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from pyarrow import parquet
from short_episode import CONTRACT, write_episode

from como_ros.errors import ComoError
from como_ros.runs import alone_in
from policies.spaces import EE_POSITION, GRIPPER, Contract, pose7_from_state
from training.episodes import load_episodes
from training.lerobot_export import Shard, export, whole_rate

PEER = os.environ.get("COMO_LEROBOT_PYTHON", "")
"""A Python that has lerobot; it wants other versions than we do, so it has a place of its own."""
READ = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset
ahead = {"action": [0.0, 0.1]}
data = LeRobotDataset("local/x", root=sys.argv[1], video_backend="pyav", delta_timestamps=ahead)
row = data[len(data) - 2]
print(json.dumps({
    "episodes": data.num_episodes, "frames": data.num_frames, "fps": data.fps, "task": row["task"],
    "state": row["observation.state"].tolist(), "action": row["action"].tolist(),
    "front": row["observation.images.front"].mean().item(),
    "mean": data.meta.stats["action"]["mean"].tolist(),
}))
"""


@pytest.fixture
def bags(tmp_path):
    """Two good episodes, one that failed, one with a hole of 0.2 s."""
    for name, options in {
        "a": {},
        "b": {},
        "bad": {"outcome": "failure"},
        "hole": {"blind_ms": (380, 720)},
    }.items():
        write_episode(tmp_path / "bags" / name, **options)
    return tmp_path / "bags"


def rows_of(out: Path) -> dict[str, np.ndarray]:
    table = parquet.read_table(out / "data/chunk-000/file-000.parquet")
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


def places_of(out: Path) -> list[dict]:
    return parquet.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()


def film_of(out: Path, camera: str) -> list[tuple[float, np.ndarray]]:
    path = out / f"videos/observation.images.{camera}/chunk-000/file-000.mp4"
    with av.open(str(path)) as film:
        return [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)]


def test_rows_are_what_training_sees(bags, tmp_path):
    result = export(bags, tmp_path / "out")
    rows, (_, episodes) = rows_of(tmp_path / "out"), load_episodes(bags)
    assert result["episodes"] == len(episodes) == 4  # the hole makes two of one
    assert result["frames"] == sum(map(len, episodes)) == len(rows["index"])
    np.testing.assert_array_equal(rows["index"], np.arange(len(rows["index"])))
    for number, episode in enumerate(episodes):
        mine = rows["episode_index"] == number
        np.testing.assert_array_equal(rows["observation.state"][mine], episode.states)
        np.testing.assert_allclose(rows["timestamp"][mine], np.arange(len(episode)) / 10, atol=1e-6)


def test_an_action_is_the_set_point_due_at_the_next_row(bags, tmp_path):
    export(bags, tmp_path / "out")
    actions, (_, (first, *_)) = rows_of(tmp_path / "out")["action"], load_episodes(bags)
    np.testing.assert_allclose(actions[0, EE_POSITION], first.command_poses[1, :3], atol=1e-6)
    np.testing.assert_allclose(pose7_from_state(actions[0])[3:], first.command_poses[1, 3:], atol=1e-6)
    assert actions[len(first) - 1, GRIPPER] == pytest.approx(first.command_widths[-1])


def test_pictures_keep_the_size_they_were_recorded_at(tmp_path):
    write_episode(tmp_path / "bags/a", image_hw=(240, 320))
    export(tmp_path / "bags", tmp_path / "out")
    assert film_of(tmp_path / "out", "front")[0][1].shape == (240, 320, 3)


def test_every_frame_is_in_the_film_at_the_time_its_row_says(bags, tmp_path):
    export(bags, tmp_path / "out")
    rows, film, (_, episodes) = (
        rows_of(tmp_path / "out"),
        film_of(tmp_path / "out", "wrist"),
        load_episodes(bags),
    )
    for place, episode in zip(places_of(tmp_path / "out"), episodes, strict=True):
        begin, end = place["dataset_from_index"], place["dataset_to_index"]
        for row in range(begin, end):
            at, picture = film[row]
            assert at == pytest.approx(
                place["videos/observation.images.wrist/from_timestamp"] + rows["timestamp"][row]
            )
            off = picture.astype(int) - episode.images["wrist"][row - begin]
            assert np.abs(off).max() < 6


def test_the_figures_are_of_all_rows_and_of_each_episode(bags, tmp_path):
    export(bags, tmp_path / "out")
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    rows, (_, episodes) = rows_of(tmp_path / "out"), load_episodes(bags)
    state = stats["observation.state"]
    np.testing.assert_allclose(state["mean"], rows["observation.state"].mean(0), atol=1e-6)
    np.testing.assert_allclose(state["q90"], np.quantile(rows["observation.state"], 0.9, 0), atol=1e-6)
    pixels = np.concatenate([episode.images["front"] for episode in episodes]) / 255
    front = stats["observation.images.front"]
    assert np.shape(front["mean"]) == (3, 1, 1)
    np.testing.assert_allclose(np.ravel(front["mean"]), pixels.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(np.ravel(front["std"]), pixels.std((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(np.ravel(front["q50"]), np.quantile(pixels, 0.5, (0, 1, 2)), atol=1 / 255)
    assert places_of(tmp_path / "out")[0]["stats/action/count"] == [len(episodes[0])]


def test_a_film_that_has_outgrown_its_file_makes_room_for_the_next(tmp_path):
    for name in ("a", "b"):
        write_episode(tmp_path / "bags" / name)
    export(tmp_path / "bags", tmp_path / "out", film_bytes=1)
    first, second = places_of(tmp_path / "out")
    assert (first["data/file_index"], second["data/file_index"]) == (0, 1)
    assert second["videos/observation.images.front/from_timestamp"] == 0
    assert (tmp_path / "out/videos/observation.images.front/chunk-000/file-001.mp4").exists()


def test_files_are_numbered_in_chunks_of_a_thousand(tmp_path):
    shard = Shard(tmp_path, 1002, CONTRACT, 10)
    shard.close()
    assert shard.place == {"chunk_index": 1, "file_index": 2}


def test_nothing_is_written_over_and_half_an_export_leaves_nothing(bags, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("x")
    with pytest.raises(ComoError, match="is not an empty folder"):
        export(bags, tmp_path / "out")
    write_episode(tmp_path / "evaluation/a", seed=10_000)
    with pytest.raises(ComoError, match="evaluation only"):
        export(tmp_path / "evaluation", tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bags", "evaluation", "out"]


def test_what_another_run_is_writing_is_not_swept_away_and_what_a_killed_one_left_is(bags, tmp_path):
    begun = tmp_path / ".out.half" / "meta" / "info.json"
    with alone_in(tmp_path / ".out.half"):
        begun.parent.mkdir()
        begun.write_text("half")
        with pytest.raises(ComoError, match="another run works in"):
            export(bags, tmp_path / "out")
        assert begun.read_text() == "half"
    export(bags, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == ["out"]


@pytest.mark.parametrize("out", [".", "link", "nowhere"])
def test_an_empty_folder_is_filled_by_whatever_name_it_is_given(bags, tmp_path, monkeypatch, out):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    if out != ".":
        Path(out).symlink_to(tmp_path / ("there" if out == "link" else "new"))
        (tmp_path / "there").mkdir()
    export(bags, Path(out))
    assert rows_of(Path(out).resolve())["index"][-1] > 0
    assert Path.cwd().exists()
    assert not list(tmp_path.rglob("*.half"))


def test_a_rate_that_is_no_whole_number_is_refused_by_value():
    with pytest.raises(ComoError, match=r"12\.5 Hz"):
        whole_rate(Contract(action_rate_hz=12.5))


@pytest.mark.skipif(not PEER, reason="COMO_LEROBOT_PYTHON names no Python that has lerobot")
def test_lerobot_itself_reads_it(bags, tmp_path):
    export(bags, tmp_path / "out")
    done = subprocess.run(
        [PEER, "-c", READ, str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    seen, rows = json.loads(done.stdout.splitlines()[-1]), rows_of(tmp_path / "out")
    assert (seen["episodes"], seen["frames"], seen["fps"], seen["task"]) == (
        4,
        len(rows["index"]),
        10,
        "pick",
    )
    np.testing.assert_allclose(seen["state"], rows["observation.state"][-2])
    np.testing.assert_allclose(seen["action"], rows["action"][-2:])
    np.testing.assert_allclose(seen["mean"], rows["action"].mean(0), atol=1e-6)
