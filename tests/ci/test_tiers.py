"""The tiers of tests in the Makefile's verbs and in ci/test.sh."""

from __future__ import annotations

import re

from docs.included import ROOT

# Tiers outside `make test`: one of which it runs a tenth, one that takes too long, a part of `kind`, and one that
# writes into the documentation.
NOT_IN_TEST = {"faults", "matrix", "install", "pictures", "queues"}


def _tiers() -> set[str]:
    return set(re.findall(r"^tier_(\w+)\(\)", (ROOT / "ci/test.sh").read_text(), re.MULTILINE))


def _named() -> dict[str, list[str]]:
    """Return the tiers of each verb."""
    rules = re.findall(r"^([a-z0-9-]+):.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    run = {verb: " ".join(re.findall(r"\$\(TEST\) (.+)", recipe)).split() for verb, recipe in rules}
    return {verb: [tier for tier in tiers if tier != "beside"] for verb, tiers in run.items() if tiers}


def test_every_tier_has_a_verb_and_every_verb_its_tiers() -> None:
    assert {tier for tiers in _named().values() for tier in tiers} == _tiers()


def test_make_test_runs_each_tier_once() -> None:
    assert sorted(_named()["test"]) == sorted(_tiers() - NOT_IN_TEST)
