"""Camera faults by name, for one camera or all; a wrong name or value is answered with the valid ones."""

import os

import numpy as np
import pytest

from como_ros.errors import ComoError
from como_ros.lab.camera_faults import CAMERA_FAULTS, camera_fault, set_camera_fault
from como_ros.lab.shared_state import SharedState
from policies.spaces import CAMERAS


@pytest.fixture
def shared():
    shared = SharedState.create(f"test_faults_{os.getpid()}", 1)
    yield shared
    shared.close()


def test_each_fault_of_each_camera_stands_alone(shared):
    values = {"camera_drop": 0.25, "camera_delay": 1.5}
    for name in CAMERA_FAULTS:
        for camera in CAMERAS:
            set_camera_fault(shared, name, True, values.get(name), camera)
            on = {(n, c): camera_fault(shared, n, c) for n in CAMERA_FAULTS for c in CAMERAS}
            assert on.pop((name, camera)) == values.get(name, 1.0)
            assert not any(on.values())
            set_camera_fault(shared, name, False, None, camera)


def test_without_a_camera_a_fault_is_set_for_all(shared):
    set_camera_fault(shared, "camera_drop", True, 0.5)
    assert [camera_fault(shared, "camera_drop", camera) for camera in CAMERAS] == [0.5] * len(CAMERAS)
    set_camera_fault(shared, "camera_drop", False)
    assert not shared.settings.any()


@pytest.mark.parametrize("value", [None, 0, -0.1, 1.1, float("nan"), "much", True])
def test_a_wrong_value_is_refused_with_the_range_and_changes_nothing(shared, value):
    with pytest.raises(
        ComoError, match=r"camera_drop needs a value, share of the frames above 0 and up to 1"
    ):
        set_camera_fault(shared, "camera_drop", True, value)
    assert not shared.settings.any()


def test_a_value_for_a_fault_without_one_is_refused(shared):
    with pytest.raises(ComoError, match=r"camera_freeze takes no value, got 0\.5"):
        set_camera_fault(shared, "camera_freeze", True, 0.5)


def test_unknown_names_are_answered_with_the_known_ones(shared):
    with pytest.raises(ComoError, match="no camera fault 'camera_melt'; known: camera_freeze, camera_drop"):
        set_camera_fault(shared, "camera_melt", True)
    with pytest.raises(ComoError, match="no camera 'side'; known: front, wrist"):
        set_camera_fault(shared, "camera_freeze", True, None, "side")


def test_a_fault_is_seen_by_a_reader_that_attached_before(shared):
    reader = SharedState.attach(f"test_faults_{os.getpid()}")
    set_camera_fault(shared, "camera_delay", True, np.float32(0.5), "wrist")
    assert camera_fault(reader, "camera_delay", "wrist") == 0.5
    reader.close()
