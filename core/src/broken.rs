//! Variants that are broken on purpose, so that the checks which should notice can be seen to notice.
//!
//! Only builds with the feature `faults` have them, and tests; in every other build the question is a constant.

/// Whether this process runs as this broken variant (`PLUGBOARD_BROKEN=<variant>`), or this thread does.
#[inline(always)]
pub fn broken(variant: &str) -> bool {
    is_chosen_here(variant) || is_chosen(variant)
}

#[cfg(feature = "faults")]
fn is_chosen(variant: &str) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("PLUGBOARD_BROKEN").ok());
    CHOSEN.as_deref() == Some(variant)
}

#[cfg(not(feature = "faults"))]
#[inline(always)]
const fn is_chosen(_variant: &str) -> bool {
    false
}

#[cfg(any(test, feature = "testing"))]
thread_local! {
    static HERE: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// What this thread runs from now on is this variant: a simulation chooses one for its own.
#[cfg(any(test, feature = "testing"))]
pub fn choose(variant: Option<&'static str>) {
    HERE.set(variant);
}

#[cfg(any(test, feature = "testing"))]
fn is_chosen_here(variant: &str) -> bool {
    HERE.get() == Some(variant)
}

#[cfg(not(any(test, feature = "testing")))]
#[inline(always)]
const fn is_chosen_here(_variant: &str) -> bool {
    false
}
