//! Limits by their config names (`tidegate.limit.<alias>.<name>`, `tidegate.plugins.<name>`).

use std::collections::BTreeMap;

use tidegate_plugin::Limits;

/// The broker's limits with what one binding has instead of them.
pub(super) fn overridden(base: &Limits, set: &BTreeMap<&'static str, u64>) -> Limits {
    let mut limits = base.clone();
    for (name, value) in set {
        put(&mut limits, name, *value);
    }
    limits
}

/// Every limit that has a config, by name.
pub(crate) fn named(limits: &Limits) -> [(&'static str, u64); 11] {
    [
        ("breaker.delay.ms", limits.breaker_delay_ms),
        ("breaker.failures", limits.breaker_failures.into()),
        ("call.bytes", limits.call_bytes as u64),
        ("call.records", limits.call_records as u64),
        ("deadline.ms", limits.deadline_ms),
        ("instances", limits.instances as u64),
        ("log.bytes.per.sec", limits.log_bytes_per_sec as u64),
        ("memory.bytes", limits.memory_bytes as u64),
        ("output.bytes", limits.output_bytes as u64),
        ("output.records", limits.output_records as u64),
        ("table.elements", limits.table_elements as u64),
    ]
}

fn put(limits: &mut Limits, name: &str, value: u64) {
    let size = usize::try_from(value).unwrap_or(usize::MAX);
    match name {
        "breaker.delay.ms" => limits.breaker_delay_ms = value,
        "breaker.failures" => limits.breaker_failures = u32::try_from(value).unwrap_or(u32::MAX),
        "call.bytes" => limits.call_bytes = size,
        "call.records" => limits.call_records = size,
        "deadline.ms" => limits.deadline_ms = value,
        "instances" => limits.instances = size,
        "log.bytes.per.sec" => limits.log_bytes_per_sec = size,
        "memory.bytes" => limits.memory_bytes = size,
        "output.bytes" => limits.output_bytes = size,
        "output.records" => limits.output_records = size,
        "table.elements" => limits.table_elements = size,
        // The table in `tidegate_metadata::config` and this one are held together by a test.
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use tidegate_metadata::config::limit_defs;

    use super::*;

    #[test]
    fn every_limit_of_the_table_is_put_and_told() {
        let set: BTreeMap<_, _> = limit_defs()
            .iter()
            .zip(1000..)
            .map(|(def, value)| (def.name, value))
            .collect();
        let told = named(&overridden(&Limits::default(), &set));
        assert_eq!(BTreeMap::from(told), set);
        let none = BTreeMap::new();
        assert_eq!(overridden(&Limits::default(), &none), Limits::default());
    }
}
