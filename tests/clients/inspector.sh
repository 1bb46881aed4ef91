#!/usr/bin/env bash
# The Inspector against a running sandbox: lists strictly, calls, and puts a little load on, in both eras.
# MCP_URL, MCP_KEY; mcp-inspector on the PATH.
set -uo pipefail

inspect() {
  mcp-inspector --cli "$MCP_URL" --transport http --header "Authorization: Bearer $MCP_KEY" "$@" --format json -q 2>&1
}

failed=0
check() { # check NAME WANTED ARGUMENTS...
  local name=$1 wanted=$2 out code
  shift 2
  out=$(inspect "$@")
  code=$?
  if [ "$code" -eq 0 ] && grep -q -- "$wanted" <<<"$out"; then
    echo "PASS inspector 2.12.0, $name"
  else
    failed=1
    echo "FAIL inspector 2.12.0, $name: exit $code: $out"
  fi
}

call='{"service":"wildberries","module":"statistics","method":"GET","path":"/api/v1/supplier/orders","query":{"dateFrom":"2026-04-15"}}'
for era in modern legacy auto; do
  # --strict ends with 6 when something in the list would trip other clients.
  check "$era, tools/list --strict" connector_execute --protocol-era "$era" --method tools/list --strict
  check "$era, tools/call" succeeded --protocol-era "$era" --method tools/call --tool-name connector_execute \
    --tool-args-json "$call"
done
exit "$failed"
