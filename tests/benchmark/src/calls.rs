//! Calls of tools, as a 2026-07-28 client sends them.

use crate::http::{address, post};

/// The yardsticks get the same bytes.
pub const READ: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"connector_execute","arguments":{"service":"bench","module":"api","method":"GET","path":"/ping","query":{"n":1}},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}"#;

/// One with an effect, whose caller waits.
pub const WRITE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"connector_execute","arguments":{"service":"bench","module":"api","method":"POST","path":"/write","body":{"n":1}},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}"#;

/// One with an effect, whose answer nobody waits for.
pub const SUBMIT: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"connector_execute","arguments":{"service":"bench","module":"api","method":"POST","path":"/write","body":{"n":1},"repeat":true,"wait_ms":0,"deadline_ms":900000},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}"#;

/// A call of any tool.
pub fn body(tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{{"name":"bench","version":"1"}}}}}}}}"#
    )
}

/// The whole request; `more`: headers beside those of the protocol.
pub fn request(url: &str, more: &[(&str, &str)], tool: &str, body: &str) -> Vec<u8> {
    let mut headers = more.to_vec();
    headers.extend([
        ("Accept", "application/json, text/event-stream"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", tool),
    ]);
    post(address(url), "/mcp", &headers, body)
}
