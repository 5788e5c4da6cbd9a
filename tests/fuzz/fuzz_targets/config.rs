//! Configuration: no text makes the decoder panic, and what is wrong with it can be shown.
#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use meerkat::config::Files;
use meerkat::config::decode;

/// Files whose names say whether they can be read.
struct ByName;

impl Files for ByName {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        match path.len() % 2 {
            0 => Ok(b"-----BEGIN PRIVATE KEY-----".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    match decode(&text, "fuzz.toml", &ByName) {
        Ok(config) => {
            for notice in &config.notices {
                assert!(!notice.to_string().is_empty());
            }
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.to_string().contains("fuzz.toml"));
        }
    }
});
