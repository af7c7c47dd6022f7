"""Recordings weighed on Ray's workers: those of a cluster, where RAY_ADDRESS names one, or of this machine.

The recordings and the model must lie at the same paths for every worker. What a killed worker had in hand is
done again by another.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from como_ros.errors import ComoError
from training.evidence import Labeller, Recording, Weighed, open_labeller

RETRIES = 3
"""How often a recording whose worker died is tried again."""
CONNECT_S = 5.0


def require_ray() -> None:
    if find_spec("ray") is None:
        raise ComoError("--ray needs Ray, which is not installed; pip install 'como_ros[scale]'")


def weighed_by_ray(model: Path, labeller: Labeller, recordings: list[Recording]) -> Iterator[Weighed]:
    """In the order of the recordings."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    with _joined():
        work = ray.remote(num_cpus=1, max_retries=RETRIES)(weigh_remotely)
        which = model.absolute(), labeller.model.sha256
        asked = [work.remote(*which, replace(each, path=each.path.absolute())) for each in recordings]
        for recording, reference in zip(recordings, asked, strict=True):
            try:
                yield ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayError as error:
                told = f"{recording.path} was given up after {RETRIES} more tries: {error}"
                raise ComoError(f"{told}; see that a worker has memory enough, or leave --ray out") from error


def _joined() -> AbstractContextManager:
    """The cluster of RAY_ADDRESS; without it this machine's cores, for as long as this lasts.

    Left to itself Ray would look for a cluster that ended badly on this machine, and wait for it for minutes.
    """
    import ray

    address = os.environ.get("RAY_ADDRESS", "local")
    try:
        _reach(address)
        return ray.init(address, include_dashboard=False, logging_level="warning")
    except OSError as error:
        told = f"no Ray cluster answers at {address} ({error})"
        raise ComoError(f"{told}; start one, or unset RAY_ADDRESS") from error


def _reach(address: str) -> None:
    """Refuse at once a host and port where nobody listens; names such as local and auto are Ray's to find."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), CONNECT_S).close()


def weigh_remotely(model: Path, sha256: str, recording: Recording) -> Weighed:
    labeller = _opened(model, sha256)
    return labeller.weigh(recording)


@cache
def _opened(model: Path, sha256: str) -> Labeller:
    """Once a worker."""
    labeller = open_labeller(model)
    if (found := labeller.model.sha256) != sha256:
        raise ComoError(
            f"a worker finds model {found[:12]} at {model}, not {sha256[:12]}; give a folder that all share"
        )
    return labeller
