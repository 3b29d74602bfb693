#!/bin/sh
# Becomes the server, as the account NAME: options or a configuration file alone are its arguments, and it takes
# connections from other containers without a password, as the official image does.
set -eu

if [ $# = 0 ]; then
    set -- NAME-server
fi
case "$1" in
-* | *.conf) set -- NAME-server "$@" ;;
esac
if [ "$1" != NAME-server ]; then
    exec "$@"
fi
set -- "$@" --protected-mode no
if [ "$(id -u)" = 0 ]; then
    find . ! -user NAME -exec chown NAME:NAME '{}' +
    exec setpriv --reuid=NAME --regid=NAME --init-groups "$@"
fi
exec "$@"
