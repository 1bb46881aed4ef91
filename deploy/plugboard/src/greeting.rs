//! What a start prints: for a person, or one line for a program.

use serde::Serialize;

/// The ready line of `--json`. Keys are there at the first start only, and so is a connect link that opens.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    event: &'static str,
    pub url: String,
    pub mcp_url: String,
    pub grpc_url: String,
    pub connect_url: String,
    pub console_url: String,
    pub urls: Vec<String>,
    pub operator_key: Option<String>,
    pub api_key: Option<String>,
}

impl Ready {
    pub fn new(url: &str, operator_key: Option<String>, api_key: Option<String>, link: Option<String>) -> Self {
        Self {
            event: "ready",
            url: url.to_owned(),
            mcp_url: format!("{url}/mcp"),
            grpc_url: url.to_owned(),
            connect_url: link.unwrap_or_else(|| format!("{url}/connect")),
            console_url: format!("{url}/console"),
            urls: vec![url.to_owned()],
            operator_key,
            api_key,
        }
    }

    pub fn to_json(&self) -> String {
        // A struct of strings always serializes.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The greeting for a person.
    pub fn to_text(&self, services: usize, sandbox: bool, data: &str) -> String {
        let url = &self.url;
        let key = self.api_key.as_deref().unwrap_or("<your key>");
        let mut text = format!("Plugboard is ready at {url}, with {services} services.\n\n");
        match (&self.api_key, &self.operator_key) {
            (Some(api), Some(operator)) => {
                text.push_str("  API key        ");
                text.push_str(api);
                text.push_str("\n  Operator key   ");
                text.push_str(operator);
                text.push_str("\n  They are shown this once; only their hashes are kept.\n\n");
                text.push_str("  Connect accounts in a browser (the link opens once, within 15 minutes):\n  ");
                text.push_str(&self.connect_url);
                text.push_str("\n\n");
                text.push_str(&format!("  See what is called, with either key: {}\n\n", self.console_url));
            }
            _ => text.push_str(&format!(
                "  The keys of {data} were shown at its first start. Lost them? An admin key issues more:\n  plugboard keys issue --scope admin\n\n"
            )),
        }
        text.push_str("For Claude, Cursor, VS Code and other MCP clients:\n\n");
        text.push_str(&format!(
            "  {{\"mcpServers\": {{\"plugboard\": {{\"type\": \"http\", \"url\": \"{}\",\n    \"headers\": {{\"Authorization\": \"Bearer {key}\"}}}}}}}}\n\n",
            self.mcp_url
        ));
        text.push_str("Try next:\n\n");
        text.push_str(&format!("  export PLUGBOARD_URL={url} PLUGBOARD_API_KEY={key}\n"));
        text.push_str("  plugboard call wildberries statistics GET /api/v1/supplier/orders dateFrom==2026-04-15\n");
        text.push_str("  plugboard connectors show wildberries statistics\n");
        if !sandbox {
            text.push_str(&format!(
                "  curl -H \"Authorization: Bearer $PLUGBOARD_API_KEY\" -H 'Content-Type: application/json' \\\n       {url}/api/v1/connections -d '{{\"service\":\"wildberries\",\"credentials\":{{\"api_token\":\"…\"}}}}'\n"
            ));
        } else {
            text.push_str("  plugboard doctor\n\nSandbox: every call is answered by a built-in vendor with the operation's example.\n");
        }
        text
    }
}
