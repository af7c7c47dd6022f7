"""Vocabulary, wire and data contract name the same keys, topics, rates and sizes."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from como_ros import wire
from policies import spaces, timeline

PAGE = Path(__file__).parents[2] / "docs" / "data_contract.md"
COLUMNS = 10


def documented() -> dict[str, list[str]]:
    """Key -> its row of the page, `<camera>` expanded."""
    rows: dict[str, list[str]] = {}
    for line in PAGE.read_text().splitlines():
        if not re.match(r"\| `", line):
            continue
        for camera in spaces.CAMERAS:
            cells = [cell.strip().replace("<camera>", camera) for cell in line.strip("|").split("|")]
            rows[cells[0].strip("`")] = cells
    return rows


def vocabulary() -> set[str]:
    observed = {spaces.image_key(camera) for camera in spaces.CAMERAS}
    return observed | {spaces.STATE, spaces.INSTRUCTION, timeline.EE_POSE, timeline.JOINTS}


def on_the_wire() -> set[str]:
    return {topic.key for topic in wire.TOPICS.values()}


def disagreements(named: set[str], wired: set[str], written: set[str], derived: set[str]) -> list[str]:
    return [
        *(f"{key}: on the wire, not in the data contract" for key in sorted(wired - written)),
        *(f"{key}: in the vocabulary, not in the data contract" for key in sorted(named - written)),
        *(f"{key}: in the vocabulary, not on the wire" for key in sorted(named - wired - derived)),
        *(f"{key}: in the data contract only" for key in sorted(written - wired - named)),
    ]


def derived_keys() -> set[str]:
    return {key for key, cells in documented().items() if cells[6].startswith("built from")}


def test_every_key_stands_in_vocabulary_wire_and_data_contract():
    assert disagreements(vocabulary(), on_the_wire(), set(documented()), derived_keys()) == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_key_that_stands_in_only_one_place_is_found(place):
    keys = [vocabulary(), on_the_wire(), set(documented())]
    keys[place] = keys[place] | {"stray"}
    assert any("stray" in found for found in disagreements(*keys, derived_keys()))


def test_the_page_names_the_topic_and_rate_of_the_wire():
    rows = documented()
    for topic in wire.TOPICS.values():
        assert rows[topic.key][6] == f"`{topic.name}`"
        if topic.rate_hz:
            assert float(rows[topic.key][5]) == topic.rate_hz


def test_no_cell_of_the_page_is_empty():
    assert [key for key, cells in documented().items() if len(cells) != COLUMNS or not all(cells)] == []


def test_the_page_states_the_sizes_of_the_vocabulary():
    text = PAGE.read_text()
    assert f"`S` = {spaces.STATE_DIM} state dims" in text
    assert f"`A` = {spaces.ACTION_DIM} action dims" in text
    assert f"first {spaces.INSTRUCTION_BYTES} bytes" in text
    assert f"0 to {spaces.GRIPPER_MAX_M}" in text


def test_every_topic_of_the_wire_can_be_decoded():
    assert {topic.key.partition("/")[0] for topic in wire.TOPICS.values()} == set(wire.READERS)


def rows_of(section: str) -> list[list[str]]:
    """The cells of the table in one section of the page, `<camera>` expanded, without its head."""
    body = PAGE.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in body.splitlines() if line.startswith("| ")][1:]
    return [
        [cell.replace("<camera>", camera) for cell in row]
        for row in rows
        for camera in (spaces.CAMERAS if "<camera>" in row[0] else ("",))
    ]


def test_the_page_lists_type_and_quality_of_service_of_every_topic():
    wired = sorted([topic.name, topic.type, topic.qos] for topic in wire.TOPICS.values())
    assert sorted(rows_of("On the wire")) == wired


def test_the_page_says_of_every_field_of_the_contract_what_it_costs_to_change_it():
    rows = rows_of("The contract")
    assert [row[0] for row in rows] == [field.name for field in fields(spaces.Contract)]
    assert all(len(row) == 3 and all(row) for row in rows)


def test_the_page_states_how_each_stream_is_sampled():
    documented_as = {row[0]: row[1:] for row in rows_of("Observed") if len(row) == 3}
    for key, stream in timeline.observation_streams(spaces.Contract()).items():
        policy, age = documented_as["images" if key.startswith("images/") else key]
        assert policy.startswith(stream.policy)
        assert float(age.removesuffix(" s")) * 1e9 == stream.max_age_ns
