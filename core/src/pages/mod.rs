//! What the pages of all services share, whoever serves them.

pub mod cookies;

/// Colours, light and dark, as custom properties of CSS.
pub const PALETTE: &str = include_str!("palette.css");

pub const ICON: &str = include_str!("icon.svg");
