#!/bin/sh
# Dovecot, clamd and RabbitMQ, real servers for the tests, are what comes from the distribution and needs root.
# Installs them where root and apt-get are there and says what is missing where not. The tests that need them are then
# skipped, and pytest names each of them, so this never fails. All, or those that are named.
set -u
PATH="$PATH:/usr/sbin:/sbin"
say() { echo "make test: $*" >&2; }
skipped="its tests are skipped, and named below"

# want NAME COMMAND PACKAGE UNIT...
want() {
  name=$1 command=$2 package=$3
  shift 3
  if command -v "$command" >/dev/null; then
    return
  elif [ "$(id -u)" -ne 0 ]; then
    say "no $name, and not root, so it can't be installed: $skipped"
  elif ! command -v apt-get >/dev/null; then
    say "no $name and no apt-get to install it with: $skipped"
  else
    say "installing $package with apt-get"
    log=$(mktemp)
    if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"; } \
      >"$log" 2>&1; then
      # The tests start their own; the system's would only be in the way.
      [ ! -d /run/systemd/system ] || systemctl disable --now --quiet "$@" 2>/dev/null || true
    else
      tail -n 5 "$log" >&2
      say "apt-get could not install $package: $skipped"
    fi
    rm -f "$log"
  fi
}

[ $# -gt 0 ] || set -- dovecot clamd rabbitmq
for server; do
  case $server in
    dovecot)
      want Dovecot dovecot dovecot-pop3d dovecot.service dovecot.socket
      [ "$(id -u)" -eq 0 ] || say "not root, so Dovecot can't be started: $skipped" ;;
    clamd) want clamd clamd clamav-daemon clamav-daemon.service clamav-daemon.socket ;;
    rabbitmq) want RabbitMQ rabbitmqctl rabbitmq-server rabbitmq-server.service epmd.service epmd.socket ;;
    *) say "there is no $server to want" ;;
  esac
done
