//! Variants that are broken on purpose, so that the checks which should notice can be seen to notice.
//!
//! Only builds with the feature `faults` have them, and the unit tests here; in every other build the question is a constant.

/// Whether this process runs as this broken variant: `PLUGBOARD_BROKEN=<variant>`.
#[cfg(feature = "faults")]
pub fn broken(variant: &str) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("PLUGBOARD_BROKEN").ok());
    is_chosen(variant) || CHOSEN.as_deref() == Some(variant)
}

/// Whether this thread does.
#[cfg(all(test, not(feature = "faults")))]
pub fn broken(variant: &str) -> bool {
    is_chosen(variant)
}

/// Never.
#[cfg(not(any(test, feature = "faults")))]
#[inline(always)]
pub const fn broken(_variant: &str) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static HERE: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// What this thread runs from now on is this variant.
#[cfg(test)]
pub(crate) fn choose(variant: Option<&'static str>) {
    HERE.set(variant);
}

#[cfg(test)]
fn is_chosen(variant: &str) -> bool {
    HERE.get() == Some(variant)
}

#[cfg(all(feature = "faults", not(test)))]
#[inline(always)]
const fn is_chosen(_variant: &str) -> bool {
    false
}
