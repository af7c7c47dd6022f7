"""Recorded episodes as a LeRobot dataset, format v3.0: numbers in Parquet, a film per camera, both in shards.

A row is a tick that training sees too, through the same resampler. Its action is the set-point due one
period later, in the base frame: position, the first two columns of the rotation, width of the gripper.
A part of an episode between two gaps is an episode of its own: no row reaches across a gap.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from como_ros.errors import ComoError
from como_ros.runs import alone_in
from policies.spaces import Contract, pack_state
from training.episodes import Episode, read_episodes
from training.film import Film
from training.lerobot_stats import Figures, PixelFigures

VERSION = "v3.0"
FILM_BYTES = 200 << 20
FILES_PER_CHUNK = 1000
SHARD = "chunk-{chunk_index:03d}/file-{file_index:03d}"
ROWS_AT, FILM_AT = f"data/{SHARD}.parquet", "videos/{video_key}/" + SHARD + ".mp4"
POSE_NAMES = ["x", "y", "z", "xx", "xy", "xz", "yx", "yy", "yz", "width"]
"""In metres; xx to yz are the gripper's x and y axes in the base frame."""
INDEX = "__index_level_0__"
JOINT_NAMES = [f"joint{i}" for i in range(1, 8)]
VECTORS = {"observation.state": POSE_NAMES + JOINT_NAMES, "action": POSE_NAMES}
COUNTED = ("frame_index", "episode_index", "index", "task_index")
SCALARS = {"timestamp": "float32", **dict.fromkeys(COUNTED, "int64")}


def camera_key(camera: str) -> str:
    return f"observation.images.{camera}"


def export(
    bags: Path, out: Path, include_flagged: bool = False, film_bytes: int = FILM_BYTES
) -> dict[str, Any]:
    """Result of `como bags export`; the folder appears when it is whole."""
    if out.is_file() or (out.exists() and any(out.iterdir())):
        raise ComoError(f"{out} is not an empty folder; give a new one, or remove what is in it")
    place = out.resolve()  # the name of `.`, and where a link leads
    contract, episodes = read_episodes(bags, include_flagged=include_flagged, as_recorded=True)
    half = place.with_name(f".{place.name}.half")
    with alone_in(half):
        try:
            dataset = _fill(half, contract, episodes, film_bytes)
            _move(half, place)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    return {"episodes": len(dataset.episodes), "frames": dataset.frames, "fps": dataset.fps, "out": str(out)}


def _fill(half: Path, contract: Contract, episodes: Iterable[Episode], film_bytes: int) -> _Dataset:
    for left_by_a_killed_run in half.iterdir():
        shutil.rmtree(left_by_a_killed_run)
    dataset = _Dataset(half, contract, film_bytes)
    for episode in episodes:
        dataset.add(episode)
    dataset.close()
    return dataset


def _move(half: Path, place: Path) -> None:
    """Into an empty folder that is there rather than over it: somebody may be in it."""
    if not place.exists():
        half.rename(place)
        return
    for part in sorted(half.iterdir()):
        part.rename(place / part.name)


def whole_rate(contract: Contract) -> int:
    """Frames a second; the format knows whole ones only."""
    if contract.action_rate_hz != round(contract.action_rate_hz):
        raise ComoError(f"LeRobot knows whole rates only; the contract's is {contract.action_rate_hz:g} Hz")
    return round(contract.action_rate_hz)


class Shard:
    """One file of rows and one film per camera, filled episode by episode."""

    def __init__(self, root: Path, number: int, contract: Contract, fps: int) -> None:
        chunk, file = divmod(number, FILES_PER_CHUNK)
        self.place = {"chunk_index": chunk, "file_index": file}
        self.films = {
            key: Film(root / FILM_AT.format(video_key=key, **self.place), fps, contract.image_hw)
            for key in map(camera_key, contract.cameras)
        }
        self._rows_at = root / ROWS_AT.format(**self.place)
        self._rows: parquet.ParquetWriter | None = None
        self._fps = fps

    @property
    def bytes(self) -> int:
        """Of its largest film."""
        return max(film.bytes for film in self.films.values())

    def add(self, rows: pa.Table, images: dict[str, np.ndarray]) -> dict[str, Any]:
        """-> where the episode now is, in the words of the format."""
        if self._rows is None:
            self._rows_at.parent.mkdir(parents=True, exist_ok=True)
            self._rows = parquet.ParquetWriter(self._rows_at, rows.schema)
        self._rows.write_table(rows)
        where: dict[str, Any] = {f"data/{name}": index for name, index in self.place.items()}
        for key, film in self.films.items():
            where |= {f"videos/{key}/{name}": index for name, index in self.place.items()}
            where[f"videos/{key}/from_timestamp"] = film.frames / self._fps
            film.add(images[key])
            where[f"videos/{key}/to_timestamp"] = film.frames / self._fps
        return where

    def close(self) -> None:
        for film in self.films.values():
            film.close()
        if self._rows is not None:
            self._rows.close()


@dataclass
class _Dataset:
    """The folder while it grows."""

    root: Path
    contract: Contract
    film_bytes: int
    """A shard is closed when one of its films has outgrown this."""
    episodes: list[dict[str, Any]] = field(default_factory=list)
    tasks: dict[str, int] = field(default_factory=dict)
    frames: int = 0

    def __post_init__(self) -> None:
        self.fps = whole_rate(self.contract)
        self._figures: dict[str, Figures | PixelFigures] = {}
        self._shards = 0
        self._shard = self._next_shard()

    def _next_shard(self) -> Shard:
        self._shards += 1
        return Shard(self.root, self._shards - 1, self.contract, self.fps)

    def add(self, episode: Episode) -> None:
        if self._shard.bytes > self.film_bytes:
            self._shard.close()
            self._shard = self._next_shard()
        columns = self._columns(episode)
        images = {camera_key(name): frames for name, frames in episode.images.items()}
        count = len(episode)
        row = {"episode_index": len(self.episodes), "tasks": [episode.instruction], "length": count}
        row |= {"dataset_from_index": self.frames, "dataset_to_index": self.frames + count}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0, "source": episode.path.name}
        row |= self._shard.add(_table(columns), images) | self._count(columns | images)
        self.episodes.append(row)
        self.frames += count

    def _count(self, features: dict[str, np.ndarray]) -> dict[str, Any]:
        """Into the figures of all; -> those of this episode, in the words of the format."""
        told: dict[str, Any] = {}
        for key, values in features.items():
            kind = PixelFigures if values.ndim == 4 else Figures
            alone = kind()
            for figures in (alone, self._figures.setdefault(key, kind())):
                figures.add(values)
            told |= {f"stats/{key}/{name}": value for name, value in alone.told().items()}
        return told

    def _columns(self, episode: Episode) -> dict[str, np.ndarray]:
        """Feature -> (T, n) values."""
        count = len(episode)
        task = self.tasks.setdefault(episode.instruction, len(self.tasks))
        ticks = np.arange(count)
        scalars = {
            "timestamp": (ticks / self.fps).astype(np.float32),
            "frame_index": ticks,
            "episode_index": np.full(count, len(self.episodes)),
            "index": self.frames + ticks,
            "task_index": np.full(count, task),
        }
        return {
            "observation.state": episode.states,
            "action": due_next(episode),
            **{name: values[:, None] for name, values in scalars.items()},
        }

    def close(self) -> None:
        self._shard.close()
        if not self.episodes:
            raise ComoError("none of the episodes could be read; nothing was exported")
        _write(pa.Table.from_pylist(self.episodes), self.root / "meta/episodes/chunk-000/file-000.parquet")
        _write(_task_table(self.tasks), self.root / "meta/tasks.parquet")
        stats = {key: part.told() for key, part in self._figures.items()}
        (self.root / "meta/stats.json").write_text(json.dumps(stats, indent=1))
        (self.root / "meta/info.json").write_text(json.dumps(self._info(), indent=1))

    def _info(self) -> dict[str, Any]:
        features: dict[str, Any] = {
            name: {"dtype": "float32", "shape": [len(names)], "names": names}
            for name, names in VECTORS.items()
        }
        features |= {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in SCALARS.items()}
        for key, film in self._shard.films.items():
            shape = [*self.contract.image_hw, 3]
            names = ["height", "width", "channels"]
            features[key] = {"dtype": "video", "shape": shape, "names": names, "info": film.described()}
        return {
            "codebase_version": VERSION,
            "robot_type": self.contract.robot,
            "total_episodes": len(self.episodes),
            "total_frames": self.frames,
            "total_tasks": len(self.tasks),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": max(self.film_bytes >> 20, 1),
            "fps": self.fps,
            "splits": {"train": f"0:{len(self.episodes)}"},
            "data_path": ROWS_AT,
            "video_path": FILM_AT,
            "features": features,
        }


def due_next(episode: Episode) -> np.ndarray:
    """(T, 10): the set-point due at the next tick, as position, rot6d and width; the last is repeated."""
    ahead = np.minimum(np.arange(len(episode)) + 1, len(episode) - 1)
    poses, widths = episode.command_poses[ahead], episode.command_widths[ahead]
    return pack_state(poses, widths, np.zeros((len(episode), 0)))


def _table(columns: dict[str, np.ndarray]) -> pa.Table:
    """Vectors as lists, scalars as they are."""
    arrays: dict[str, pa.Array] = {}
    for name, values in columns.items():
        if name in VECTORS:
            flat_values = pa.array(np.ascontiguousarray(values, np.float32).ravel())
            arrays[name] = pa.FixedSizeListArray.from_arrays(flat_values, values.shape[1])
        else:
            arrays[name] = pa.array(values[:, 0].astype(SCALARS[name]))
    return pa.table(arrays)


def _task_table(tasks: dict[str, int]) -> pa.Table:
    """The sentences are the index of the data frame that LeRobot reads here, and pandas must be told so."""
    table = pa.table({"task_index": pa.array(list(tasks.values()), pa.int64()), INDEX: list(tasks)})
    kinds = (("task_index", "task_index", "int64", "int64"), (None, INDEX, "unicode", "object"))
    columns = [
        {"name": name, "field_name": field, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
        for name, field, kind, dtype in kinds
    ]
    told = {"index_columns": [INDEX], "column_indexes": [], "columns": columns}
    return table.replace_schema_metadata({"pandas": json.dumps(told)})


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
