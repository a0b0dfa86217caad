//! The Kafka wire, sans I/O: frames, headers, bounded decoding, versions, error codes.
