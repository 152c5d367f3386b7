#!/bin/sh
# Runs retire.py with the Python of the worker, which this container runs already: a hook bypasses the image's entrypoint, so
# PATH may lack it.
for program in /proc/[0-9]*/exe; do
  program=$(readlink "$program") || continue
  case $program in
    */python*) [ -x "$program" ] && exec "$program" "${0%/*}/retire.py" "$@" ;;
  esac
done
exec python "${0%/*}/retire.py" "$@"
