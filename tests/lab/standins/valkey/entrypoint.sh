#!/bin/sh
# Becomes the server, as the account valkey: options or a configuration file alone are its arguments, and it takes
# connections from other containers without a password, as the official image does.
set -eu

case "$1" in
-* | *.conf) set -- valkey-server "$@" ;;
esac
if [ "$1" != valkey-server ]; then
    exec "$@"
fi
set -- "$@" --protected-mode no
if [ "$(id -u)" = 0 ]; then
    chown -R valkey:valkey .
    exec setpriv --reuid=valkey --regid=valkey --init-groups "$@"
fi
exec "$@"
