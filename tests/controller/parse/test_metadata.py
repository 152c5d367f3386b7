from __future__ import annotations

from dask_operator import parse


def test_the_version_of_a_list() -> None:
    assert parse.resource_version({"metadata": {"resourceVersion": "12"}}) == 12
    assert parse.resource_version({"metadata": {}}) == 0
