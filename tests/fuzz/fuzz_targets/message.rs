#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| api_gateway::mcp::fuzz::message(bytes));
