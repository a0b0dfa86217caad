//! The pure in-sync-replica engine: (event, now) to effects.
