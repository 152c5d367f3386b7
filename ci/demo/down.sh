#!/usr/bin/env bash
# down.sh: ends what demo.sh started. What it built stays in the cache.
set -euo pipefail
"$(dirname "${BASH_SOURCE[0]}")/../cluster/cluster" down demo
