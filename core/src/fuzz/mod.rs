//! Fuzz targets of this crate. Each panics when something does not hold; see [`crate::testing::fuzz`].
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a finding")]

mod template;
mod url;
mod wire;

pub use template::template;
pub use url::url;
pub use wire::wire;

#[cfg(test)]
mod tests {
    use crate::testing::fuzz;

    #[test]
    fn any_url() {
        fuzz("url", 100_000, super::url);
    }

    #[test]
    fn any_template() {
        fuzz("template", 100_000, super::template);
    }

    #[test]
    fn any_message() {
        fuzz("wire", 20_000, super::wire);
    }
}
