"""FastMCP's OpenAPI proxy in front of the vendor at the URL given: one process, stateless, answers in JSON.

Prints its own URL once it listens.
"""

import logging
import socket
import sys

import httpx2
import uvicorn
from fastmcp import FastMCP

VENDOR = sys.argv[1]

# The benchmark's connector as an OpenAPI document; the names are those that a caller of the product uses.
ORDER = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "price": {"type": "string"}, "status": {"type": "string"}},
}
ANSWER = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "orders": {"type": "array", "items": ORDER}},
    "required": ["ok"],
}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Bench", "version": "1"},
    "servers": [{"url": VENDOR}],
    "paths": {
        "/api/ping": {
            "get": {
                "operationId": "connector_execute",
                "summary": "Answers.",
                "parameters": [{"name": "n", "in": "query", "required": True, "schema": {"type": "integer"}}],
                "responses": {
                    "200": {"description": "An answer.", "content": {"application/json": {"schema": ANSWER}}},
                },
            },
        },
    },
}


class Server(uvicorn.Server):
    """Says where it listens once it does."""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)


# As many kept connections as there are callers; by default only 20 are kept, and most calls would open their own.
limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
# The timeout that FastMCP gives a client of its own making.
client = httpx2.AsyncClient(base_url=VENDOR, limits=limits, timeout=30)
# A line for every call would be measured too.
logging.getLogger("httpx2").setLevel(logging.WARNING)

proxy = FastMCP.from_openapi(openapi_spec=DOCUMENT, client=client, name="Bench")
app = proxy.http_app(path="/mcp", stateless_http=True, json_response=True)
listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", log_level="warning", access_log=False)
Server(config).run(sockets=[listener])
