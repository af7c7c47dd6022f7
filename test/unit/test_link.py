"""A robot whose own clock stands still has fallen silent; a loop that slept itself has not."""

from como_ros.drivers.link import LinkWatch

ROUND_NS = 10_000_000


def watch(rounds: int, robot_s: float = 1.0, link: LinkWatch | None = None, start: int = 0) -> LinkWatch:
    """So many rounds in which the robot's clock stands."""
    link = link or LinkWatch()
    for number in range(start, start + rounds + 1):
        link.look(robot_s, number * ROUND_NS)
    return link


def test_a_robot_is_late_after_100_ms_of_silence_and_dead_after_500():
    assert not watch(10).is_late
    link = watch(11)
    assert (link.is_late, link.is_dead, link.silences) == (True, False, 1)
    assert link.complaint == "the robot has been silent for 0.1 s; look at its cable and its controller"
    assert watch(51).is_dead


def test_a_robot_that_is_heard_again_is_not_late_and_its_silence_was_counted():
    link = watch(20)
    link.look(1.2, 21 * ROUND_NS)
    assert (link.is_late, link.complaint, link.silences) == (False, "", 1)
    watch(20, 1.2, link, start=21)
    assert link.silences == 2


def test_a_robot_in_a_slow_world_is_not_silent():
    link = LinkWatch()
    for number in range(200):
        link.look(0.0005 * number, number * ROUND_NS)
    assert link.silences == 0


def test_what_the_loop_slept_through_is_no_silence():
    link = watch(5)
    link.look(1.0, 5 * ROUND_NS + 900_000_000)
    assert not link.is_late
