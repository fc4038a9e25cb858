#!/bin/sh
# As the official image's: Envoy when options come first, and never as root unless ENVOY_UID says so.
set -e
[ "${1#-}" = "$1" ] || set -- envoy "$@"
if [ "$1" = envoy ] && [ -n "${loglevel:-}" ]; then
  set -- "$@" --log-level "$loglevel"
fi
if [ "${ENVOY_UID:-101}" != 0 ] && [ "$(id -u)" = 0 ]; then
  exec setpriv --reuid "${ENVOY_UID:-101}" --regid "${ENVOY_GID:-101}" --clear-groups "$@"
fi
exec "$@"
