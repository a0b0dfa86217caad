//! Limits by the names that topic configs have for them.

use tidegate_plugin::Limits;

/// As in `tidegate.limit.<alias>.<name>`.
const NAMES: [&str; 11] = [
    "deadline.ms",
    "memory.bytes",
    "table.elements",
    "instances",
    "output.bytes",
    "output.records",
    "log.bytes.per.sec",
    "call.records",
    "call.bytes",
    "breaker.failures",
    "breaker.delay.ms",
];

/// Sets one limit. The error is a sentence; whether the value makes sense is said when the plugin is bound.
pub(crate) fn set(limits: &mut Limits, name: &str, value: u64) -> Result<(), String> {
    let size = || usize::try_from(value).map_err(|_| format!("{value} is too much for `{name}`"));
    match name {
        "deadline.ms" => limits.deadline_ms = value,
        "memory.bytes" => limits.memory_bytes = size()?,
        "table.elements" => limits.table_elements = size()?,
        "instances" => limits.instances = size()?,
        "output.bytes" => limits.output_bytes = size()?,
        "output.records" => limits.output_records = size()?,
        "log.bytes.per.sec" => limits.log_bytes_per_sec = size()?,
        "call.records" => limits.call_records = size()?,
        "call.bytes" => limits.call_bytes = size()?,
        "breaker.failures" => {
            limits.breaker_failures =
                u32::try_from(value).map_err(|_| format!("{value} is too much for `{name}`"))?;
        }
        "breaker.delay.ms" => limits.breaker_delay_ms = value,
        _ => {
            return Err(format!(
                "there is no limit `{name}`; there are {}",
                NAMES.join(", ")
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_sets_a_limit_of_its_own() {
        let mut limits = Limits::default();
        for (index, name) in NAMES.iter().enumerate() {
            let before = limits.clone();
            set(&mut limits, name, 7_000 + index as u64).unwrap();
            assert_ne!(limits, before, "{name}");
        }
        assert_eq!(
            (limits.deadline_ms, limits.breaker_failures),
            (7_000, 7_009)
        );
    }

    #[test]
    fn mistakes_are_sentences() {
        let told = set(&mut Limits::default(), "deadline", 1).unwrap_err();
        assert!(
            told.contains("no limit `deadline`; there are deadline.ms, memory.bytes"),
            "{told}"
        );
        assert!(set(&mut Limits::default(), "breaker.failures", 1 << 40).is_err());
    }
}
