#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzztargets::rings::rings(bytes));
