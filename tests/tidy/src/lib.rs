//! Holds the repository to its own architecture: who may depend on whom, who may name what, and what is absent.
//!
//! Each check takes text and gives sentences, so that the unit tests can show that it fails on made-up input. The
//! integration test runs all of them on the repository as it stands.

pub mod crates;
pub mod source;
pub mod words;

/// A sentence that says where the repository breaks its architecture, and which rule that is.
pub type Complaint = String;
