"""Our runtime's changes for runc on a machine that withholds a capability."""

from __future__ import annotations

from pathlib import Path

from ci.docker.runc import allowed, bounding_set, process_file


def test_the_bounding_set_is_read_by_the_numbers_of_capabilities() -> None:
    assert bounding_set("Name:\tbash\nCapBnd:\t0000000000000003\n") == {"CAP_CHOWN", "CAP_DAC_OVERRIDE"}
    assert "CAP_SYS_RESOURCE" not in bounding_set("CapBnd:\t000001fffeffffff\n")
    assert len(bounding_set("CapBnd:\t000001ffffffffff\n")) == 41


def test_what_is_withheld_is_not_asked_for() -> None:
    process = {
        "args": ["init"],
        "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"]},
        "oomScoreAdj": -500,
    }
    assert allowed(process, {"CAP_CHOWN"}) == {
        "args": ["init"],
        "capabilities": {"bounding": ["CAP_CHOWN"], "effective": []},
        "oomScoreAdj": 0,
    }


def test_what_asks_for_nothing_is_left_as_it_is() -> None:
    assert allowed({"args": ["true"], "oomScoreAdj": 7}, set()) == {
        "args": ["true"],
        "capabilities": {},
        "oomScoreAdj": 7,
    }


def test_the_process_is_where_the_command_says() -> None:
    assert process_file(["--root", "/run", "create", "--bundle", "/b", "name"]) == Path("/b/config.json")
    assert process_file(["exec", "--process", "/tmp/p.json", "name"]) == Path("/tmp/p.json")
    assert process_file(["delete", "name"]) is None
