"""Probes split by episode: ridge regression, its penalty chosen inside the training part only, and an MLP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from como_ros.errors import ComoError

PENALTIES = tuple(10.0 ** np.arange(-4, 3))
HELD_OUT_EVERY = 4
"""Every fourth episode is only tested on."""
FEWEST_GROUPS = 5
"""One to test on, and of the others one to choose the penalty by."""
HIDDEN, PATIENCE = 128, 40
"""Of the MLP: its width, and the steps it goes on without getting better."""


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
    """Fit on the rows where `fitted` is true and predict every row, through the smaller Gram matrix."""
    x = features.astype(np.float64)
    x = (x - x[fitted].mean(0)) / (x[fitted].std(0) + 1e-6) / np.sqrt(x.shape[1])
    centre, known = targets[fitted].mean(0), x[fitted]
    wanted = targets[fitted] - centre
    if known.shape[0] > known.shape[1]:
        return x @ np.linalg.solve(known.T @ known + penalty * np.eye(x.shape[1]), known.T @ wanted) + centre
    return x @ known.T @ np.linalg.solve(known @ known.T + penalty * np.eye(len(known)), wanted) + centre


def r2_score(targets: np.ndarray, predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    residual = ((targets - predicted) ** 2).mean(0)
    return 1 - residual / np.maximum(((targets - reference) ** 2).mean(0), 1e-12)


def probe(features: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> Probe:
    """Split by group, pick the penalty on a quarter of the training groups, report on the held-out ones."""
    tested = split_by_group(groups)
    train = np.flatnonzero(~tested)
    inner = split_by_group(groups[train])
    if not tested.any() or not inner.any():
        found = len(set(groups.tolist()))
        raise ComoError(f"a probe needs at least {FEWEST_GROUPS} episodes, got {found}; give more")
    errors = []
    for penalty in PENALTIES:
        guess = ridge(features[train], targets[train], ~inner, penalty)
        errors.append(float(((guess[inner] - targets[train][inner]) ** 2).mean()))
    best = PENALTIES[int(np.argmin(errors))]
    predicted = ridge(features, targets, ~tested, best)[tested]
    r2 = r2_score(targets[tested], predicted, targets[train].mean(0))
    mse = ((targets[tested] - predicted) ** 2).mean(0)
    return Probe(r2, mse, best, predicted, np.flatnonzero(tested))


def mlp_probe(features: np.ndarray, targets: np.ndarray, groups: np.ndarray, steps: int = 400) -> np.ndarray:
    """R2 by target of a small network, split as `probe`; it stops where the inner groups are best served."""
    tested = split_by_group(groups)
    train = ~tested
    inner = np.zeros_like(train)
    inner[np.flatnonzero(train)[split_by_group(groups[train])]] = True
    x, y = _standard(features, train), _standard(targets, train)
    predicted = _fit_mlp(x, y, train & ~inner, inner, steps)[tested]
    return r2_score(y[tested].numpy(), predicted.numpy(), y[train].mean(0).numpy())


def _standard(values: np.ndarray, fitted: np.ndarray) -> torch.Tensor:
    scaled = (values - values[fitted].mean(0)) / (values[fitted].std(0) + 1e-6)
    return torch.from_numpy(scaled.astype(np.float32))


def _fit_mlp(
    x: torch.Tensor, y: torch.Tensor, fitted: np.ndarray, watched: np.ndarray, steps: int
) -> torch.Tensor:
    """Predictions for every row at the step that served the watched rows best."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.GELU(), nn.Linear(HIDDEN, y.shape[1]))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    best, since, kept = float("inf"), 0, y
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x[fitted]), y[fitted]).backward()
        optimizer.step()
        with torch.no_grad():
            guess = net(x)
        error = float((guess[watched] - y[watched]).square().mean())
        since += 1
        if error < best:
            best, since, kept = error, 0, guess
        if since > PATIENCE:
            break
    return kept
