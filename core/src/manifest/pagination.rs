//! How an operation gives its answer in pages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How to get the next page. Shown to callers now; automatic paging is built on it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pagination {
    pub kind: PaginationKind,
    /// Request parameter (query name, or JSON pointer into the body) that takes the cursor, offset or page number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Request parameter with the page size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// JSON pointer to the next cursor or URL in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// JSON pointer to the items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
    /// JSON pointer to the total count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// JSON pointer to a has-more flag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<String>,
    /// One sentence where the rule is peculiar (a watermark, ids in ascending order).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaginationKind {
    Cursor,
    Offset,
    Page,
    NextUrl,
    LinkHeader,
    Watermark,
}
