"""Recording counts what it cannot keep, and what it kept stays readable whatever happens to the disk."""

import json
import resource
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from como_ros import bags, wire
from como_ros.recording import EpisodeShelf, Recording
from como_ros.typestore import message, serialize
from policies.spaces import Contract

START_NS = 1_700_000_000_000_000_000
PLENTY = 10**8
HERE = Path(__file__).parent


def joints(stamp_ns: int) -> bytes:
    msg = message("sensor_msgs/msg/JointState")
    return serialize(wire.fill_joint_states(msg, np.zeros(7), np.zeros(7), 0.04, stamp_ns))


def image(stamp_ns: int, size: tuple[int, int] = (6, 8)) -> bytes:
    msg = message("sensor_msgs/msg/Image")
    return serialize(wire.fill_image(msg, np.zeros((*size, 3), np.uint8), stamp_ns, ""))


def test_everything_queued_is_on_disk_when_the_episode_is_closed(tmp_path):
    recording = Recording(tmp_path / "e", Contract(), PLENTY, task="pick_place")
    for i in range(500):
        recording.put("/arm/joint_states", START_NS + i, joints(START_NS + i))
    recording.close("kept")
    assert [stamp_ns - START_NS for _, stamp_ns, _ in bags.read_events(tmp_path / "e")] == list(range(500))
    meta = bags.read_meta(tmp_path / "e")
    assert meta.provenance == {"task": "pick_place", "drops": "{}", "flags": "[]"}


def test_a_recorder_that_is_behind_spends_little_time_on_packing_and_its_bag_reads_the_same(tmp_path):
    sizes = {}
    for name, age_ns in (("late", 10**9), ("fresh", -(10**9))):
        recording = Recording(tmp_path / name, Contract(), PLENTY)
        for i in range(500):
            recording.put("/arm/joint_states", time.time_ns() - age_ns, joints(START_NS + i))
        recording.close("kept")
        stamps_ns = [stamp_ns for _, stamp_ns, _ in bags.read_events(tmp_path / name)]
        assert stamps_ns == list(range(START_NS, START_NS + 500))
        sizes[name] = (tmp_path / name / f"{name}.mcap").stat().st_size
    assert sizes["fresh"] < 0.7 * sizes["late"]


def test_the_first_image_and_instruction_say_what_was_recorded(tmp_path):
    recording = Recording(tmp_path / "e", Contract(robot="fr3"), PLENTY)
    recording.put("/front/color/image_raw", START_NS, image(START_NS))
    for text in ("pick up the cube", "something else"):
        recording.put("/policy/instruction", START_NS, serialize(message("std_msgs/msg/String", data=text)))
    recording.close("kept")
    meta = bags.read_meta(tmp_path / "e")
    assert meta.contract == Contract(robot="fr3", image_hw=(6, 8))
    assert meta.instruction == "pick up the cube"


def test_an_episode_in_which_a_person_took_over_says_so(tmp_path):
    for name, states in (("helped", ("policy", "teleop")), ("driven", ("ready", "teleop", "policy"))):
        recording = Recording(tmp_path / name, Contract(), PLENTY)
        for state in states:
            said = serialize(message("std_msgs/msg/String", data=state))
            recording.put("/supervisor/state", START_NS, said)
        recording.close("kept")
    assert bags.read_meta(tmp_path / "helped").provenance["intervention"] == "true"
    assert "intervention" not in bags.read_meta(tmp_path / "driven").provenance


def test_cameras_of_different_sizes_stop_the_episode_with_both_sizes(tmp_path):
    recording = Recording(tmp_path / "e", Contract(), PLENTY)
    recording.put("/front/color/image_raw", START_NS, image(START_NS))
    recording.put("/wrist/color/image_raw", START_NS, image(START_NS, (4, 4)))
    with pytest.raises(bags.BagError, match=r"images/front is \(6, 8\), images/wrist is \(4, 4\)"):
        recording.close("kept")


def test_what_does_not_fit_into_the_queue_is_counted_by_topic(tmp_path):
    recording = Recording(tmp_path / "e", Contract(), queue_bytes=10)
    recording.put("/arm/joint_states", START_NS, joints(START_NS))
    recording.lose("/front/color/image_raw", 2)
    recording.close("kept")
    drops = json.loads(bags.read_meta(tmp_path / "e").provenance["drops"])
    assert drops == {"/arm/joint_states": 1, "/front/color/image_raw": 2}


def test_a_disk_that_fills_up_leaves_what_was_written_and_says_so(tmp_path, reaction):
    program = """
        import resource, signal, sys, time
        sys.path.insert(0, sys.argv[2])
        from test_recording import START_NS, PLENTY, Contract, Path, Recording, image, joints
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        recording = Recording(Path(sys.argv[1]), Contract(), PLENTY)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        for i in range(200_000):
            recording.put("/arm/joint_states", time.time_ns(), joints(START_NS + i * 7919))
            if recording.error:
                break
        try:
            recording.close("kept")
        except ValueError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "e"), str(HERE)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "the disk refused (File too large); what reached the disk can be read" in told.stdout
    reaction.shown("disk")
    assert not bags.read_meta(tmp_path / "e").closed
    assert len(list(bags.read_events(tmp_path / "e"))) > 0


def test_a_recording_that_somebody_removes_ends_with_a_sentence_and_takes_nothing_more(tmp_path):
    """Its file took bytes as before, and only who kept the episode was told."""
    recording = Recording(tmp_path / "e", Contract(), PLENTY)
    shutil.rmtree(tmp_path / "e")
    deadline = time.monotonic() + 10
    while recording.put("/arm/joint_states", START_NS, joints(START_NS)):
        assert time.monotonic() < deadline, "the recording went on"
        time.sleep(0.01)
    with pytest.raises(bags.BagError, match="its file was removed while it was recorded; nothing is left"):
        recording.close("kept")


def test_an_episode_that_cannot_be_begun_leaves_no_folder_behind(tmp_path):
    """What stayed was an episode without metadata, which every reader complained of."""
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, allowed[1]))
    try:
        with pytest.raises(bags.BagError, match=r"cannot write .*File too large"):
            Recording(tmp_path / "out" / "e", Contract(), PLENTY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert bags.episodes(tmp_path / "out") == []


def test_a_place_that_takes_no_episodes_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(bags.BagError, match=r"cannot be made \(.*\); give another folder"):
            EpisodeShelf(place)


def test_the_number_of_an_original_that_was_repaired_is_not_given_again(tmp_path):
    (tmp_path / "unrepaired" / "episode_000003").mkdir(parents=True)
    assert EpisodeShelf(tmp_path).next_folder().name == "episode_000004"


def test_numbers_go_on_after_kept_and_discarded_episodes(tmp_path):
    shelf = EpisodeShelf(tmp_path / "out")
    assert shelf.next_folder().name == "episode_000000"
    (tmp_path / "out" / "episode_000004").mkdir()
    assert shelf.discard(tmp_path / "out" / "episode_000004") == tmp_path / "out/discarded/episode_000004"
    assert shelf.next_folder().name == "episode_000005"


def test_no_episode_is_begun_on_a_disk_that_is_nearly_full(tmp_path):
    with pytest.raises(bags.BagError, match=r"GB left, 1000000000\.0 needed; make room"):
        EpisodeShelf(tmp_path, min_free_gb=1e9).next_folder()
