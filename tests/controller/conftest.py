"""The hook that runs the controller's coroutine tests in virtual time."""

from tests.support.clock import pytest_pyfunc_call, run

__all__ = ["pytest_pyfunc_call", "run"]
