//! Every Rust block of the documents, as a module named after the document and the line: it compiles, and its tests pass.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "a snippet shows something; nothing calls it"
)]

include!(concat!(env!("OUT_DIR"), "/snippets.rs"));
