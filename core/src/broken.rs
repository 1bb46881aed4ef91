//! Variants that are broken on purpose, so that the checks which should notice can be seen to notice.
//!
//! Only builds with the feature `faults` have them; in every other build the question is a constant.

/// Whether this process runs as this broken variant: `PLUGBOARD_BROKEN=<variant>`.
#[cfg(feature = "faults")]
pub fn broken(variant: &str) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("PLUGBOARD_BROKEN").ok());
    CHOSEN.as_deref() == Some(variant)
}

/// Never.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn broken(_variant: &str) -> bool {
    false
}
