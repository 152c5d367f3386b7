#!/bin/sh
# Installs the packages named in EXTRA_PIP_PACKAGES, then becomes the command.
set -eu
if [ -n "${EXTRA_PIP_PACKAGES:-}" ]; then
  echo "EXTRA_PIP_PACKAGES: installing $EXTRA_PIP_PACKAGES"
  # shellcheck disable=SC2086 # a list of packages
  pip install $EXTRA_PIP_PACKAGES
fi
exec "$@"
