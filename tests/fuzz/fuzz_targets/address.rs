#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| executor::fuzz::address(bytes));
