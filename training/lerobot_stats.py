"""The statistics that a LeRobot dataset carries, exact: of one episode or of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
QUANTILE_NAMES = [f"q{round(100 * share):02d}" for share in QUANTILES]
LEVELS = np.arange(256) / 255


class Figures:
    """Of numbers, per column."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []

    def add(self, values: np.ndarray) -> None:
        """(T, n)"""
        self._parts.append(np.asarray(values, np.float64))

    def told(self) -> dict[str, Any]:
        values = np.concatenate(self._parts)
        quantiles = np.quantile(values, QUANTILES, axis=0)
        told = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
        told |= dict(zip(QUANTILE_NAMES, quantiles, strict=True))
        return {name: value.tolist() for name, value in told.items()} | {"count": [len(values)]}


class PixelFigures:
    """Of all pixels, per colour, as shares of full brightness; kept as counts of the 256 levels."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), np.int64)
        self._frames = 0

    def add(self, images: np.ndarray) -> None:
        """(T, h, w, 3) uint8"""
        self._counts += [np.bincount(images[..., colour].ravel(), minlength=256) for colour in range(3)]
        self._frames += len(images)

    def told(self) -> dict[str, Any]:
        shares = self._counts / self._counts.sum(1, keepdims=True)
        mean = shares @ LEVELS
        told = {"min": self._level(0.0), "max": self._level(1.0), "mean": mean}
        told["std"] = np.sqrt(np.maximum(shares @ LEVELS**2 - mean**2, 0.0))
        told |= {name: self._level(share) for name, share in zip(QUANTILE_NAMES, QUANTILES, strict=True)}
        return {name: value.reshape(3, 1, 1).tolist() for name, value in told.items()} | {
            "count": [self._frames]
        }

    def _level(self, share: float) -> np.ndarray:
        """(3,) the lowest level that so many of the pixels do not exceed."""
        below = np.cumsum(self._counts, 1)
        wanted = np.maximum(np.ceil(share * below[:, -1:]), 1)
        return LEVELS[np.argmax(below >= wanted, 1)]
