"""What a set of latent motions or code words is like: how much of it is used, and what it goes with."""

from __future__ import annotations

import numpy as np


def usage(words: np.ndarray, codes: int) -> float:
    """Share of a book's words that occur."""
    return len(np.unique(words)) / codes


def perplexity(words: np.ndarray) -> float:
    """Of the words' frequencies: the number of words if all were equally frequent."""
    shares = np.bincount(words.ravel()) / words.size
    return float(np.exp(-(shares[shares > 0] * np.log(shares[shares > 0])).sum()))


def effective_rank(z: np.ndarray) -> float:
    """Exponential of the entropy of the covariance's eigenvalues: 1 for a line, D for a ball."""
    values = np.linalg.svd(z - z.mean(0), compute_uv=False) ** 2
    shares = values / max(values.sum(), 1e-30)
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def information(words: np.ndarray, labels: np.ndarray, seed: int = 0) -> float:
    """Mutual information in bits of each word with a label, the mean over words, less what chance gives."""
    order = np.random.default_rng(seed).permutation(len(labels))
    found = [_bits(column, labels) - _bits(column, labels[order]) for column in words.T]
    return float(np.mean(found))


def _bits(a: np.ndarray, b: np.ndarray) -> float:
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float((joint[joint > 0] * np.log2(joint[joint > 0] / apart[joint > 0])).sum())


def directions(moved: np.ndarray, least_m: float = 0.01) -> np.ndarray:
    """(N, 3) translations -> 0 where nothing moves, else 1 to 6: the axis that moves most, and its sign."""
    axis = np.abs(moved).argmax(1)
    most = np.take_along_axis(moved, axis[:, None], 1)[:, 0]
    return np.where(np.abs(most) < least_m, 0, 1 + 2 * axis + (most > 0))


def debiased_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear CKA by the unbiased estimator of HSIC: near zero for what is unrelated, whatever the width."""
    k, m = _kernel(x), _kernel(y)
    scale = _hsic(k, k) * _hsic(m, m)
    return float(_hsic(k, m) / np.sqrt(max(scale, 1e-30)))


def _kernel(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(0)
    kernel = x @ x.T
    np.fill_diagonal(kernel, 0)
    return kernel.astype(np.float64)


def _hsic(k: np.ndarray, m: np.ndarray) -> float:
    n = len(k)
    rows = k.sum(0) @ m.sum(0)
    return float(
        ((k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * rows / (n - 2)) / (n * (n - 3))
    )
