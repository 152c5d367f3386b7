#!/usr/bin/env bash
# down.sh: Delete the cluster of demo.sh. The cache keeps everything built for it.
set -euo pipefail
"$(dirname "${BASH_SOURCE[0]}")/../cluster/cluster" down demo
