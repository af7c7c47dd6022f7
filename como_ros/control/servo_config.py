"""How long things may last at the servo, and how brisk its set-points may be."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from como_ros.control.tracking import TrackingConfig
from como_ros.errors import ComoError


@dataclass(frozen=True)
class ServoConfig:
    """In seconds, metres and radians."""

    blend_s: float = 0.2
    """Over which the difference between an old and a new chunk fades out."""
    stop_s: float = 0.06
    """Braking time when a hold begins."""
    pose_timeout_s: float = 0.1
    """Silence of a driving operator, two periods at 20 Hz, after which the arm holds."""
    heartbeat_late_s: float = 0.1
    """Silence of the supervisor, two and a half beats, after which the arm holds until it is heard again."""
    heartbeat_timeout_s: float = 1.0
    """Silence that counts as its death: the arm must be armed again. A program that joins the network can
    delay the beats by a third of a second."""
    max_early_s: float = 1.0
    """Commands due later than this are refused: some clock has jumped."""
    max_dt_s: float = 0.02
    """A tick that came late may not move the arm further than this much time would."""
    acceleration_m_s2: float = 8.1
    acceleration_rad_s2: float = 15.3
    """Of set-points: 0.9 times what an FR3 may, which is less than a Panda."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, (int, float)) and not 0 < value < float("inf"):
                raise ComoError(f"servo: {spec.name} must be positive and finite, got {value}")
