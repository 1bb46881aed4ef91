#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| plugboard_core::fuzz::wire(bytes));
