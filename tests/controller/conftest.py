"""What the controller's unit tests share: those that are coroutines run in virtual time."""

from tests.support.clock import pytest_pyfunc_call, run

__all__ = ["pytest_pyfunc_call", "run"]
