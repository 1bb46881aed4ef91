//! What is drawn where no secret depends on it: how early a token is renewed. A simulation decides it for its own thread.

pub(crate) fn number() -> u32 {
    #[cfg(test)]
    if let Some(number) = plugboard_core::testing::drawn(|random| random.next() as u32) {
        return number;
    }
    getrandom::u32().unwrap_or(u32::MAX / 2)
}
