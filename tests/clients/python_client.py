"""The official Python client against a running sandbox, in each of its modes."""

import asyncio
import json
import os
import sys
import traceback

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

ENDPOINT = os.environ["MCP_URL"]
HEADERS = {"Authorization": f"Bearer {os.environ['MCP_KEY']}"}
TOOLS = ["list_services", "describe_service", "connector_execute"]


def orders(query):
    return {"service": "wildberries", "module": "statistics", "method": "GET", "path": "/api/v1/supplier/orders",
            "query": query}


async def lists_and_calls(mode, revision):
    async with httpx2.AsyncClient(headers=HEADERS) as http:
        async with Client(streamable_http_client(ENDPOINT, http_client=http), mode=mode) as client:
            assert str(client.protocol_version) == revision, client.protocol_version
            listed = await client.list_tools()
            assert [tool.name for tool in listed.tools] == TOOLS, listed
            good = await client.call_tool("connector_execute", orders({"dateFrom": "2026-04-15"}))
            assert not good.is_error, good
            assert good.structured_content["state"] == "succeeded", good
            assert json.loads(good.content[0].text) == good.structured_content
            bad = await client.call_tool("connector_execute", orders({}))
            assert bad.is_error, bad
            assert bad.structured_content["error"]["field"] == "query.dateFrom", bad


def main():
    failed = 0
    for mode, revision in (("auto", "2026-07-28"), ("2026-07-28", "2026-07-28"), ("legacy", "2025-11-25")):
        name = f"python mcp 2.3.0, {mode}"
        try:
            asyncio.run(lists_and_calls(mode, revision))
            print(f"PASS {name}")
        except Exception:
            failed += 1
            print(f"FAIL {name}: {traceback.format_exc()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
