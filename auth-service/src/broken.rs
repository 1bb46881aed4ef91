//! Variants that are broken on purpose, see [`plugboard_core::broken`]. A simulation chooses one for its own thread.

/// Whether this service runs as this broken variant. A constant in an ordinary build.
#[inline(always)]
pub(crate) fn broken(variant: &str) -> bool {
    #[cfg(test)]
    if CHOSEN.get() == Some(variant) {
        return true;
    }
    plugboard_core::broken::broken(variant)
}

#[cfg(test)]
thread_local! {
    static CHOSEN: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// What this thread runs from now on is this variant.
#[cfg(test)]
pub(crate) fn choose(variant: Option<&'static str>) {
    CHOSEN.set(variant);
}
