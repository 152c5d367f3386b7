"""`python -m dask_operator`: the controller, with the arguments of `kopf run`."""

from __future__ import annotations

import os
import sys

from dask_operator.process import settings, shell


def main() -> None:
    try:
        configured = settings.from_environment(os.environ)
    except ValueError as error:
        sys.exit(str(error))
    shell.start(sys.argv[1:], configured)


if __name__ == "__main__":
    main()
