"""The limits that programs import agree with what is checked."""

from __future__ import annotations

import pytest

from dask_kubernetes import constants
from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.validation import validate_cluster_name


@pytest.mark.parametrize(
    "name", ["a", "a" * constants.MAX_CLUSTER_NAME_LEN, "a" * (1 + constants.MAX_CLUSTER_NAME_LEN), "A", "a\n", "-a"]
)
def test_the_pattern_is_the_rule(name: str) -> None:
    if constants.VALID_CLUSTER_NAME.match(name):
        return validate_cluster_name(name)
    with pytest.raises(ValidationError):
        validate_cluster_name(name)
    return None


def test_a_longest_name_leaves_room_for_the_services() -> None:
    longest = constants.SCHEDULER_NAME_TEMPLATE.format(cluster_name="a" * constants.MAX_CLUSTER_NAME_LEN)
    assert len(longest) == constants.KUBERNETES_MAX_RESOURCE_NAME_LENGTH
