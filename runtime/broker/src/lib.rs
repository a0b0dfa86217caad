//! The broker: connections, dispatch, partitions, tasks, admin HTTP. The only user of tokio.
