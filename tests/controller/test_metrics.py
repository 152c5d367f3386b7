from __future__ import annotations

from dask_operator import metrics


def test_everything_is_named_and_explained() -> None:
    lines = metrics.rendered().decode().splitlines()
    help_ = {line.split()[2]: line.split(maxsplit=3)[3] for line in lines if line.startswith("# HELP")}
    assert all(name.startswith("dask_operator_") for name in help_)
    assert all(len(text) > 40 and text.endswith(".") for text in help_.values()), help_
    assert "dask_operator_retirements_total" in help_


def test_outcomes_are_there_before_they_happen() -> None:
    """Check this, since Prometheus would not see the first of them as an increase."""
    text = metrics.rendered().decode()
    assert 'dask_operator_retirements_total{outcome="retired"}' in text
    assert 'dask_operator_retirements_total{outcome="refused"}' in text
