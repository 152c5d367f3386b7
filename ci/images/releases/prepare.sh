#!/bin/sh
# Puts the environment of the release $DASK_RELEASE into PATH, then becomes the command.
set -eu
if [ ! -d "/opt/dask-$DASK_RELEASE" ]; then
  echo "no Dask $DASK_RELEASE in this image: set DASK_RELEASE to one of $(cd /opt && echo dask-* | sed 's/dask-//g')" >&2
  exit 64
fi
PATH=/opt/dask-$DASK_RELEASE/bin:$PATH
export PATH
exec "$@"
