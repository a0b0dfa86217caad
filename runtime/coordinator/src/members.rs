//! One member of a group.

use bytes::Bytes;

use crate::request::{JoinRequest, Token};

/// A new member's JoinGroup may wait this long; then it is given up, since nothing else would ever
/// end the wait of a client that is gone.
const NEW_MEMBER_MS: i64 = 300_000;
/// Names from clients are kept up to this length, so that composed ids fit a Kafka string.
const MAX_NAME_LEN: usize = 255;

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    /// The JoinGroup or SyncGroup that waits for the others.
    pub(crate) join: Option<Token>,
    pub(crate) sync: Option<Token>,
    /// Has not completed its first join.
    pub(crate) is_new: bool,
    /// When the session ends, unless a request waits.
    pub(crate) deadline_ms: i64,
}

impl Member {
    pub(crate) fn new(id: String, request: JoinRequest, token: Token, now_ms: i64) -> Member {
        let mut member = Member {
            id,
            instance: None,
            client_id: String::new(),
            client_host: String::new(),
            session_timeout_ms: 0,
            rebalance_timeout_ms: 0,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            join: Some(token),
            sync: None,
            is_new: true,
            deadline_ms: now_ms.saturating_add(NEW_MEMBER_MS),
        };
        member.instance = request.group_instance_id.clone();
        member.update(request);
        member
    }

    /// Takes over what a rejoining member says about itself.
    pub(crate) fn update(&mut self, request: JoinRequest) {
        self.client_id = clip(request.client_id);
        self.client_host = clip(request.client_host);
        self.session_timeout_ms = request.session_timeout_ms;
        self.rebalance_timeout_ms = match request.rebalance_timeout_ms {
            ms if ms > 0 => ms,
            _ => request.session_timeout_ms,
        };
        self.protocols = request.protocols;
    }

    /// The session starts anew.
    pub(crate) fn seen(&mut self, now_ms: i64) {
        self.deadline_ms = now_ms.saturating_add(i64::from(self.session_timeout_ms));
    }

    /// When the member must go; `None` while a request of it waits, which shows that it is there.
    pub(crate) fn expires_ms(&self) -> Option<i64> {
        let waits = self.sync.is_some() || (self.join.is_some() && !self.is_new);
        (!waits).then_some(self.deadline_ms)
    }

    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    pub(crate) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }
}

/// The id Kafka makes: what the person named, then what is unique.
pub(crate) fn make_member_id(instance: Option<&str>, client_id: &str, unique: &str) -> String {
    format!(
        "{}-{unique}",
        clip(instance.unwrap_or(client_id).to_owned())
    )
}

pub(crate) fn clip(mut name: String) -> String {
    if name.len() > MAX_NAME_LEN {
        let end = (0..=MAX_NAME_LEN)
            .rev()
            .find(|end| name.is_char_boundary(*end));
        name.truncate(end.unwrap_or(0));
    }
    name
}
