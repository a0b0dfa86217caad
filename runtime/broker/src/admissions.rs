//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::live::LiveConfig;

pub(crate) struct Admissions {
    /// Open connections by peer address; an address without any is not kept.
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One open connection; dropping it makes room for another.
pub(crate) struct Admitted {
    admissions: Arc<Admissions>,
    peer: IpAddr,
}

impl Admissions {
    pub(crate) fn new() -> Arc<Admissions> {
        Arc::new(Admissions {
            open: Mutex::default(),
        })
    }

    /// The error names the configuration key that is in the way. Limits that were lowered close nothing that is open.
    pub(crate) fn enter(
        self: &Arc<Self>,
        peer: IpAddr,
        limits: &LiveConfig,
    ) -> Result<Admitted, &'static str> {
        let mut open = self.lock();
        if open.values().sum::<usize>() >= limits.max_connections {
            return Err("max.connections");
        }
        let here = open.get(&peer).copied().unwrap_or(0);
        if here >= limits.connections_of(peer) {
            return Err("max.connections.per.ip");
        }
        open.insert(peer, here + 1);
        Ok(Admitted {
            admissions: self.clone(),
            peer,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admissions.lock();
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_all_and_by_address() {
        let admissions = Admissions::new();
        let limits = LiveConfig {
            max_connections: 3,
            max_connections_per_ip: 2,
            ..LiveConfig::of(&Default::default())
        };
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = admissions
            .enter(a, &limits)
            .unwrap_or_else(|key| panic!("{key}"));
        let _second = admissions
            .enter(a, &limits)
            .unwrap_or_else(|key| panic!("{key}"));
        assert_eq!(
            admissions.enter(a, &limits).err(),
            Some("max.connections.per.ip")
        );
        let _third = admissions
            .enter(b, &limits)
            .unwrap_or_else(|key| panic!("{key}"));
        assert_eq!(admissions.enter(b, &limits).err(), Some("max.connections"));
        drop(first);
        assert!(admissions.enter(a, &limits).is_ok());
    }
}
