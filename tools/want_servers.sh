#!/bin/sh
# Dovecot, a real POP3 server for the tests, is the one thing that comes from the distribution and needs root.
# Installs it where root and apt-get are there and says what is missing where not. The tests that need it are then
# skipped, and pytest names each of them, so this never fails.
set -u
PATH="$PATH:/usr/sbin:/sbin"
say() { echo "make test: $*" >&2; }

if [ "$(id -u)" -ne 0 ]; then
  say "not root, so Dovecot can't be installed or started: its tests are skipped, and named below"
elif command -v dovecot >/dev/null; then
  :
elif ! command -v apt-get >/dev/null; then
  say "no Dovecot and no apt-get to install it with: its tests are skipped, and named below"
else
  say "installing dovecot-pop3d with apt-get"
  log=$(mktemp)
  if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends dovecot-pop3d; } \
    >"$log" 2>&1; then
    # The tests start their own; the system's would only sit on port 110.
    [ ! -d /run/systemd/system ] || systemctl disable --now --quiet dovecot.service dovecot.socket 2>/dev/null || true
  else
    tail -n 5 "$log" >&2
    say "apt-get could not install dovecot-pop3d: its tests are skipped, and named below"
  fi
  rm -f "$log"
fi
