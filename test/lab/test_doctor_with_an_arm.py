"""What the doctor says of an arm that answers."""

import re

import pytest
from lab_server import running_lab

from como_ros.doctor import fci


def test_the_state_jitter_of_an_arm_is_measured_without_moving_it():
    with running_lab(seed=1) as lab:
        client = lab.client()
        before = client.truth()["joints"]
        check = fci("127.0.0.1")
        assert client.truth()["joints"] == pytest.approx(before, abs=1e-6)
        client.close()
    median, p99, most = (float(text) for text in re.findall(r"([\d.]+) (?:ms|at the 99|most)", check.detail))
    assert 0 <= median <= p99 <= most < 1000
