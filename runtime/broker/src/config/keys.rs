//! The keys that are Tidegate's own; Kafka's are in `tidegate_metadata::config`.
