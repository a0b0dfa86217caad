//! As ../../tests/snippets.rs. These tests want plugins built first (`make plugins`).

#![allow(
    dead_code,
    unreachable_pub,
    unused,
    reason = "a snippet shows something; nothing calls it"
)]

include!(concat!(env!("OUT_DIR"), "/snippets.rs"));
