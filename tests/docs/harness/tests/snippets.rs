//! As ../../tests/snippets.rs. These tests want plugins built first, so they are compiled and not run.

#![allow(
    dead_code,
    unreachable_pub,
    unused,
    reason = "a snippet shows something; nothing calls it"
)]

include!(concat!(env!("OUT_DIR"), "/snippets.rs"));
