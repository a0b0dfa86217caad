//! Pure state machines of consumer groups.
