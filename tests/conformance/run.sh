#!/usr/bin/env bash
# Runs the official MCP conformance suite against a server.
#
#   tests/conformance/run.sh URL REQUIREMENTS BASELINE OUT
#
#   URL           of the endpoint, e.g. http://127.0.0.1:3911/mcp
#   REQUIREMENTS  2026-07-28 or 2025-11-25: the frozen list of that revision
#   BASELINE      the scenarios expected to fail; one that passes fails the run as well
#   OUT           folder for the detailed results
#
#   AUTH_KEY          when set, requests go through a small proxy that adds it as a bearer token
#   PLUGBOARD_TOOLS   where the pinned tools live (default: .tools/node in the repository); installed when missing
set -euo pipefail

if [ $# -ne 4 ]; then
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
fi
url=$1 requirements=$2 baseline=$3 out=$4

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${PLUGBOARD_TOOLS:-$here/../../.tools/node}
mkdir -p "$tools" "$out"
tools=$(cd "$tools" && pwd)

# The tools folder is shared with other suites, so versions are asked for one by one rather than copied over.
pins=$(sed -n 's/^ *"\(@modelcontextprotocol\/conformance\|node\)": "\(.*\)",\{0,1\}$/\1@\2/p' "$here/package.json")
installed() {
  local name=${1%@*} version=${1##*@}
  grep -qs "\"version\": \"$version\"" "$tools/node_modules/$name/package.json"
}
for pin in $pins; do
  if ! installed "$pin"; then
    # shellcheck disable=SC2086
    (cd "$tools" && npm install --no-audit --no-fund --save-exact $pins >&2)
    break
  fi
done
export PATH="$tools/node_modules/.bin:$PATH"

if [ -n "${AUTH_KEY:-}" ]; then
  origin=$(printf '%s' "$url" | sed -E 's#^(https?://[^/]+).*#\1#')
  address=$(mktemp)
  node "$here/auth-proxy.mjs" "$origin" >"$address" &
  proxy=$!
  trap 'kill "$proxy" 2>/dev/null || true; rm -f "$address"' EXIT
  for _ in $(seq 100); do
    [ -s "$address" ] && break
    sleep 0.1
  done
  url=$(cat "$address")${url#"$origin"}
fi

node "$tools/node_modules/@modelcontextprotocol/conformance/dist/index.js" server \
  --url "$url" --requirements "$requirements" --expected-failures "$baseline" -o "$out"
