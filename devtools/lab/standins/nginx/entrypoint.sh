#!/bin/sh
# Runs what an image added to /docker-entrypoint.d, as the official entrypoint does before nginx, and becomes the program.
set -eu

case "$1" in
nginx | nginx-debug)
    for part in /docker-entrypoint.d/*.sh; do
        if [ -x "$part" ]; then "$part"; fi
    done
    ;;
esac
exec "$@"
