#!/usr/bin/env bash
# previous.sh: Print the folder of the previous version as committed, which users upgrade from.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

folder=$CACHE/previous/$PREVIOUS_COMMIT
if [ ! -d "$folder" ]; then
  git -C "$ROOT" cat-file -e "$PREVIOUS_COMMIT^{commit}" 2>/dev/null ||
    die "the version before this one is commit $PREVIOUS_COMMIT, which this clone does not have: run git fetch --unshallow."
  exclusively previous
  rm -rf "$folder.partial"
  mkdir -p "$folder.partial"
  git -C "$ROOT" archive "$PREVIOUS_COMMIT" | tar --extract --directory "$folder.partial"
  mv --no-target-directory "$folder.partial" "$folder"
  release
fi
echo "$folder"
