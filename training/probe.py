"""Linear probes: ridge regression split by episode, its penalty chosen inside the training part only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PENALTIES = tuple(10.0 ** np.arange(-4, 3))
HELD_OUT_EVERY = 4
"""Every fourth episode is only tested on."""


@dataclass(frozen=True)
class Probe:
    """What a linear map from features to targets achieves on episodes it has not seen."""

    r2: np.ndarray
    """Per target dimension, against the mean of the training part."""
    mse: np.ndarray
    penalty: float
    predicted: np.ndarray
    """(N_test, Y)"""
    tested: np.ndarray
    """Indices of the rows tested on."""


def split_by_group(groups: np.ndarray, every: int = HELD_OUT_EVERY) -> np.ndarray:
    """True for the rows of every `every`-th group."""
    order = {group: index for index, group in enumerate(sorted(set(groups.tolist())))}
    return np.array([order[g] % every == every - 1 for g in groups.tolist()])


def ridge(features: np.ndarray, targets: np.ndarray, fitted: np.ndarray, penalty: float) -> np.ndarray:
    """Fit on the rows where `fitted` is true and predict every row, through the Gram matrix."""
    x = features.astype(np.float64)
    x = (x - x[fitted].mean(0)) / (x[fitted].std(0) + 1e-6)
    centre = targets[fitted].mean(0)
    gram = x @ x[fitted].T / x.shape[1]
    inside = gram[fitted]
    solved = np.linalg.solve(inside + penalty * np.eye(len(inside)), targets[fitted] - centre)
    return gram @ solved + centre


def r2_score(targets: np.ndarray, predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    residual = ((targets - predicted) ** 2).mean(0)
    return 1 - residual / np.maximum(((targets - reference) ** 2).mean(0), 1e-12)


def probe(features: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> Probe:
    """Split by group, pick the penalty on a quarter of the training groups, report on the held-out ones."""
    tested = split_by_group(groups)
    train = np.flatnonzero(~tested)
    inner = split_by_group(groups[train])
    if not tested.any() or not inner.any():
        raise ValueError(f"a probe needs at least 6 episodes, got {len(set(groups.tolist()))}")
    errors = []
    for penalty in PENALTIES:
        guess = ridge(features[train], targets[train], ~inner, penalty)
        errors.append(float(((guess[inner] - targets[train][inner]) ** 2).mean()))
    best = PENALTIES[int(np.argmin(errors))]
    predicted = ridge(features, targets, ~tested, best)[tested]
    r2 = r2_score(targets[tested], predicted, targets[train].mean(0))
    mse = ((targets[tested] - predicted) ** 2).mean(0)
    return Probe(r2, mse, best, predicted, np.flatnonzero(tested))
