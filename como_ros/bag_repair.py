"""Rewrites episodes that were never closed or lost their end: the messages that are whole, with an index.

The original is moved aside, never changed or deleted.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from como_ros import bags, wire
from como_ros.bag_meta import METADATA, STORED, bag_information, message_counts, read_meta, recordings
from como_ros.bag_writer import BagError, EpisodeWriter
from como_ros.mcap import RawMessage, ends_whole

ASIDE = "unrepaired"
"""Folder beside the episodes that takes the originals."""
SETTLED_S = 5.0
"""A recording that changed more recently may still be open."""


def half_moved(folder: Path) -> list[Path]:
    """Episodes whose repair was killed after the original was moved aside and before the whole one came."""
    moved = [folder / path.name for path in sorted(_scratch(folder).glob("*"))]
    return [episode for episode in moved if _aside(episode).is_dir() and not episode.exists()]


def put_back(episode: Path) -> str:
    """The second of a repair's two moves; says so."""
    (_scratch(episode.parent) / episode.name).rename(episode)
    return f"a killed repair was brought to its end; the original is in {_aside(episode)}"


def _scratch(folder: Path) -> Path:
    return folder / f".{ASIDE}"


def _aside(episode: Path) -> Path:
    return episode.parent / ASIDE / episode.name


def needs_repair(episode: Path) -> bool:
    """Never closed, or a file without its end or with a damaged middle."""
    files = [file for file in episode.iterdir() if file.suffix in STORED]
    cut = not all(ends_whole(file) for file in files if file.suffix == ".mcap")
    if not files or cut or not (episode / METADATA).exists():
        return bool(files)
    return any(isinstance(raw, str) for raw in _whole(episode))


def quiet_s(episode: Path) -> float:
    """For how long none of its files has changed."""
    return time.time() - max(file.stat().st_mtime for file in episode.iterdir())


def repair(episode: Path, settled_s: float = SETTLED_S) -> str:
    """Put a whole bag of the messages that still read in the episode's place; says what was kept."""
    episode = Path(episode).absolute()
    if (age_s := quiet_s(episode)) < settled_s:
        raise BagError(
            f"{episode} changed {age_s:.1f} s ago and may still be recorded; stop the recorder first"
        )
    aside = _aside(episode)
    if aside.exists():
        raise BagError(f"{aside} exists already; move it away, originals are never overwritten")
    scratch = _scratch(episode.parent)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    said = _rewrite(episode, scratch / episode.name)
    aside.parent.mkdir(exist_ok=True)
    episode.rename(aside)
    (scratch / episode.name).rename(episode)
    scratch.rmdir()
    return f"{said}; the original is in {aside}"


def _rewrite(episode: Path, target: Path) -> str:
    meta = read_meta(episode)
    kept, left_out, why = 0, set[str](), ""
    told = {"git_hash": meta.git_hash, **meta.provenance}
    writer = EpisodeWriter(target, meta.contract, meta.instruction, **told)
    for raw in _whole(episode):
        if isinstance(raw, str):
            why = raw
        elif raw.channel.topic in wire.KNOWN:
            writer.write(raw.channel.topic, raw.log_ns, raw.cdr)
            kept += 1
        else:
            left_out.add(raw.channel.topic)
    if not kept:
        raise BagError(f"{episode} holds no whole message; nothing can be repaired, leave it out")
    info = bag_information(episode)
    once = f" of {message_counts(info).total()}" if info else ""
    others = f"not on the wire and left out: {', '.join(sorted(left_out))}" if left_out else ""
    said = "; ".join(filter(None, (f"{kept}{once} messages kept", others, why)))
    writer.close(meta.outcome, repaired=said)
    return said


def _whole(episode: Path) -> Iterator[RawMessage | str]:
    """The messages of every file up to its damage, and what that damage is."""
    for file in recordings(episode, None):
        try:
            yield from bags.stored_messages(file)
        except BagError as error:
            yield str(error)
