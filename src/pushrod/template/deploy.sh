#!/bin/sh
# Push this commit to the host, as CI does. Exits with status 0 if and only if its release is live.
#
#   DEPLOY_HOST      the server: shop.example.com, or shop.example.com:2222
#   DEPLOY_KEY       a private key without a passphrase, or a file with one. On the host, after the first push:
#                    pushrod host keys add key.pub --name ci --app {{name}}
#   DEPLOY_HOST_KEY  the host's own public key, or a file with it, from ssh-keyscan shop.example.com, after you have
#                    verified it. A host with another key is refused.
set -eu
: "${DEPLOY_HOST:?}" "${DEPLOY_KEY:?}" "${DEPLOY_HOST_KEY:?}"

umask 077
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
trap 'exit 1' HUP INT TERM

text() { if [ -f "$1" ]; then cat "$1"; else printf '%s\n' "$1"; fi; }
text "$DEPLOY_KEY" > "$place/key"
text "$DEPLOY_HOST_KEY" > "$place/known_hosts"

export GIT_SSH_COMMAND="ssh -F none -i $place/key -o IdentitiesOnly=yes -o BatchMode=yes \
-o StrictHostKeyChecking=yes -o UserKnownHostsFile=$place/known_hosts -o GlobalKnownHostsFile=/dev/null \
-o ConnectTimeout=20 -o ServerAliveInterval=15"
git push "ssh://pushrod@$DEPLOY_HOST/{{name}}" HEAD:main
