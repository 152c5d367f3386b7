"""The ways in which a request to the API server fails."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from dask_operator.kubernetes import decode
from dask_operator.model import Json

_LONGEST_MESSAGE = 8 * 2**10
_QUOTING = (400, 422)
# The owner of a webhook or a policy may write anything about the object after these words.
_DENIAL = re.compile(r"(denied (?:the )?request).*", re.DOTALL)


class ApiError(Exception):
    """A refusal by the API server, or no answer from it (`code` 0).

    `reason` and `message` come from its Status, as do the names of invalid `fields`. `retry_after` is the pause in
    seconds that it asks for.
    """

    def __init__(
        self, code: int, reason: str, message: str, retry_after: float = 0.0, fields: Sequence[str] = ()
    ) -> None:
        super().__init__(f"{code} {reason}: {message}" if code else message)
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.fields = tuple(fields)

    @property
    def loggable(self) -> str:
        """The error without quotations from the object, as more people may read the log than the object."""
        if not self.code:
            return self.message
        # A webhook may put a sentence in place of a reason.
        error = f"{self.code} {self.reason}" if self.reason.isalnum() else str(self.code)
        details = ", ".join(self.fields) if self.code in _QUOTING else _DENIAL.sub(r"\1", self.message)
        return f"{error}: {details}" if details else error


class TooLargeError(ApiError):
    """An answer over the size limit, of which the rest was not read."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "TooLarge", f"{message}, and so is not read")


def refusal(code: int, reason: str, text: bytes, retry_after: str) -> ApiError:
    """Return the error in an HTTP response, whose text is a Status unless something else than the API server answered.

    `reason` and `retry_after` come from the response's head.
    """
    try:
        status = decode.status(text)
    except ValueError:
        status = {}
    return ApiError(
        code,
        str(status.get("reason") or reason),
        str(status.get("message") or text[:500].decode(errors="replace"))[:_LONGEST_MESSAGE],
        float(retry_after) if retry_after.isdecimal() else 0.0,
        tuple(_fields(status)),
    )


def unreachable(error: Exception) -> ApiError:
    """Return the error for a request without an answer, or with one that cannot be read."""
    cause = str(error) or type(error).__name__
    return ApiError(0, "Unreachable", f"the API server did not answer as it should: {cause}")


def _fields(status: Json) -> Iterator[str]:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    for cause in causes if isinstance(causes, list) else ():
        if isinstance(cause, dict) and cause.get("field"):
            yield str(cause["field"])
