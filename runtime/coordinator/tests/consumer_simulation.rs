//! Random consumers of both protocols in one group, with topics that change, answers that get lost, a log that may refuse
//! and a coordinator that crashes.
//!
//! Every client keeps what it uses until it has let go of it, and says so in its heartbeats. After every step: no two
//! clients that the group counts as members use one partition; nobody is answered twice. Whenever the log has everything,
//! it gives the same group. At the end, when all follow the protocol for a while, the group is stable, every partition is
//! used by exactly one client, and every request has been answered.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use support::*;
use tidegate_coordinator::{
    ConsumerHeartbeat, GroupError, GroupOptions, GroupState, JoinRequest, LeavingMember,
    Partitions, Reply, Request, SyncRequest, Token,
};

const CLIENTS: usize = 5;
const TOPICS: [&str; 2] = ["t", "u"];

#[derive(Clone, Debug)]
enum Step {
    /// What the protocol has next for the client; `tells` says whether it says what it holds.
    Act {
        client: usize,
        tells: bool,
    },
    LetGo {
        client: usize,
    },
    Leave {
        client: usize,
        for_now: bool,
    },
    /// A new process; `other` speaks the other protocol.
    Restart {
        client: usize,
        other: bool,
    },
    Subscribe {
        client: usize,
        topics: u8,
        regex: bool,
    },
    Topics {
        t: i32,
        u: i32,
    },
    Append {
        ok: bool,
    },
    Wait {
        ms: i64,
    },
    Disconnect {
        client: usize,
    },
    /// Of what was on its way, so many appends are in the log.
    Crash {
        stored: usize,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        16 => (client.clone(), prop::bool::weighted(0.8))
            .prop_map(|(client, tells)| Step::Act { client, tells }),
        8 => client.clone().prop_map(|client| Step::LetGo { client }),
        1 => (client.clone(), any::<bool>()).prop_map(|(client, for_now)| Step::Leave { client, for_now }),
        1 => (client.clone(), any::<bool>()).prop_map(|(client, other)| Step::Restart { client, other }),
        1 => (client.clone(), 0..4u8, any::<bool>())
            .prop_map(|(client, topics, regex)| Step::Subscribe { client, topics, regex }),
        1 => (0..5i32, 0..3i32).prop_map(|(t, u)| Step::Topics { t, u }),
        14 => prop::bool::weighted(0.93).prop_map(|ok| Step::Append { ok }),
        6 => prop_oneof![0..2_000i64, 2_900..3_100i64, 9_000..70_000i64].prop_map(|ms| Step::Wait { ms }),
        1 => client.prop_map(|client| Step::Disconnect { client }),
        1 => (0..4usize).prop_map(|stored| Step::Crash { stored }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Beat,
    Join,
    Sync,
    Heartbeat,
    Nothing,
}

#[derive(Clone, Debug, Default)]
struct Client {
    is_classic: bool,
    id: String,
    /// Member epoch, or generation.
    epoch: i32,
    /// What it uses.
    holds: Partitions,
    /// What it was told to hold, once it has let go of the rest.
    told: Partitions,
    topics: u8,
    regex: bool,
    /// Something was lost: the next heartbeat says everything.
    says_all: bool,
    asked: Option<(Token, Asked)>,
    /// Of the classic protocol.
    must_join: bool,
    must_sync: bool,
    leads: Vec<(String, Partitions)>,
}

impl Client {
    fn names(&self) -> Vec<&'static str> {
        let chosen = TOPICS.iter().enumerate();
        chosen
            .filter(|(n, _)| self.topics & (1 << n) != 0)
            .map(|(_, name)| *name)
            .collect()
    }

    /// It is out of the group, and knows it.
    fn reset(&mut self) {
        self.epoch = 0;
        self.holds.clear();
        self.told.clear();
        self.must_join = true;
        self.must_sync = false;
    }
}

struct World {
    host: Host,
    clients: Vec<Client>,
    outstanding: BTreeSet<Token>,
    next_id: usize,
    /// An append was refused since the log last had everything.
    lost: bool,
    /// Partitions of `t` and `u`. They never get fewer: a topic that is deleted and made again has another id, and here a
    /// name stands for one id. Who held it before would hold the same again, which no client can.
    partitions: [i32; 2],
}

impl World {
    fn new() -> World {
        let mut host = Host::with(GroupOptions::default());
        host.prompt = false;
        host.set_topics(&[("t", 3), ("u", 1)]);
        let client = |n: usize| Client {
            is_classic: n == 2,
            id: if n == 2 {
                String::new()
            } else {
                format!("m{n}")
            },
            topics: 3,
            must_join: true,
            ..Client::default()
        };
        World {
            host,
            clients: (0..CLIENTS).map(client).collect(),
            outstanding: BTreeSet::new(),
            next_id: CLIENTS,
            lost: false,
            partitions: [3, 1],
        }
    }

    /// The last two clients are static.
    fn instance(client: usize) -> Option<String> {
        (client >= 3).then(|| format!("i{client}"))
    }

    fn send(&mut self, client: usize, asked: Asked, request: Request) {
        let token = self.host.send(request);
        self.outstanding.insert(token);
        self.clients[client].asked = Some((token, asked));
        self.collect();
    }

    fn collect(&mut self) {
        for (token, reply) in std::mem::take(&mut self.host.replies) {
            assert!(
                self.outstanding.remove(&token),
                "{token} was not waiting: {reply:?}"
            );
            let mut clients = self.clients.iter_mut();
            let Some(client) = clients.find(|c| c.asked.is_some_and(|(t, _)| t == token)) else {
                continue;
            };
            let (_, asked) = client.asked.take().unwrap();
            hear(client, asked, reply);
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Act { client, tells } => self.act(client, tells),
            Step::LetGo { client } => {
                let c = &mut self.clients[client];
                c.holds = c.told.clone();
            }
            Step::Leave { client, for_now } => self.leave(client, for_now),
            Step::Restart { client, other } => {
                let id = self.next_id;
                self.next_id += 1;
                let c = &mut self.clients[client];
                c.is_classic ^= other;
                c.id = if c.is_classic {
                    String::new()
                } else {
                    format!("m{id}")
                };
                c.asked = None;
                c.reset();
            }
            Step::Subscribe {
                client,
                topics,
                regex,
            } => {
                let c = &mut self.clients[client];
                c.topics = topics;
                c.regex = regex && !c.is_classic;
                c.says_all = true;
                c.must_join = true;
            }
            Step::Topics { t, u } => {
                let [of_t, of_u] = &mut self.partitions;
                (*of_t, *of_u) = (t.max(*of_t), u.max(*of_u));
                let all = [("t", *of_t), ("u", *of_u)];
                self.host.set_topics(&all);
            }
            Step::Append { ok } => {
                self.finish_append(ok);
            }
            Step::Wait { ms } => self.host.advance(ms),
            Step::Disconnect { client } => {
                if let Some((token, _)) = self.clients[client].asked.take() {
                    self.host.coordinator.disconnect(token);
                    self.outstanding.remove(&token);
                    self.clients[client].says_all = true;
                }
            }
            Step::Crash { stored } => {
                let stored = stored.min(self.host.in_flight.len());
                let reached = self.host.in_flight.drain(..).take(stored);
                self.host
                    .log
                    .extend(reached.flat_map(|(_, records)| records));
                self.host.coordinator = self.host.reload();
                self.outstanding.clear();
                self.lost = false;
                for client in &mut self.clients {
                    client.says_all |= client.asked.take().is_some();
                }
            }
        }
        self.collect();
    }

    fn act(&mut self, client: usize, tells: bool) {
        if self.clients[client].asked.is_some() {
            return;
        }
        match self.clients[client].is_classic {
            true => self.act_classic(client),
            false => self.beat(client, tells),
        }
    }

    fn beat(&mut self, client: usize, tells: bool) {
        let c = &mut self.clients[client];
        let says_all = std::mem::take(&mut c.says_all) || c.epoch == 0;
        let names = c.names().into_iter().map(str::to_owned).collect();
        let beat = ConsumerHeartbeat {
            instance_id: World::instance(client),
            rebalance_timeout_ms: if says_all { 60_000 } else { -1 },
            subscribed_names: (says_all && !c.regex)
                .then_some(names)
                .or(says_all.then(BTreeSet::new)),
            subscribed_regex: says_all.then(|| match c.regex {
                true => "[tu]".to_owned(),
                false => String::new(),
            }),
            ..beating(
                "g",
                &c.id,
                c.epoch,
                (tells || says_all).then(|| c.holds.clone()),
            )
        };
        self.send(client, Asked::Beat, Request::ConsumerHeartbeat(beat));
    }

    fn act_classic(&mut self, client: usize) {
        let c = &self.clients[client];
        let (member_id, group_instance_id) = (c.id.clone(), World::instance(client));
        if c.must_join {
            if !self.is_member(&member_id) {
                // It has lost everything, and its first answer says so.
                self.clients[client].holds.clear();
                self.clients[client].told.clear();
            }
            let c = &mut self.clients[client];
            c.must_sync = false;
            let owned: Vec<(String, Vec<i32>)> = named(&c.holds);
            let owned: Vec<(&str, &[i32])> = owned
                .iter()
                .map(|(name, all)| (name.as_str(), all.as_slice()))
                .collect();
            let request = JoinRequest {
                group_instance_id,
                protocols: vec![("sticky".into(), subscription(&c.names(), &owned))],
                ..join("g", &member_id)
            };
            return self.send(client, Asked::Join, Request::Join(request));
        }
        let generation = c.epoch;
        if c.must_sync {
            let assignments = spread(&c.leads);
            let request = SyncRequest {
                group: "g".into(),
                generation,
                member_id,
                group_instance_id,
                assignments,
                ..SyncRequest::default()
            };
            return self.send(client, Asked::Sync, Request::Sync(request));
        }
        let request = Request::Heartbeat {
            group: "g".into(),
            generation,
            member_id,
            group_instance_id,
        };
        self.send(client, Asked::Heartbeat, request);
    }

    fn leave(&mut self, client: usize, for_now: bool) {
        let c = &mut self.clients[client];
        if c.asked.is_some() {
            return;
        }
        let member_id = c.id.clone();
        let group_instance_id = World::instance(client);
        c.reset();
        if c.is_classic {
            c.id.clear();
            let members = vec![LeavingMember {
                member_id,
                group_instance_id,
            }];
            return self.send(
                client,
                Asked::Nothing,
                Request::Leave {
                    group: "g".into(),
                    members,
                },
            );
        }
        let beat = ConsumerHeartbeat {
            instance_id: group_instance_id.clone(),
            ..beating(
                "g",
                &member_id,
                if for_now && group_instance_id.is_some() {
                    -2
                } else {
                    -1
                },
                None,
            )
        };
        self.send(client, Asked::Nothing, Request::ConsumerHeartbeat(beat));
    }

    fn finish_append(&mut self, ok: bool) -> bool {
        if !self.host.in_flight.is_empty() {
            // The first append after a loss holds everything.
            self.lost = !ok;
        }
        let more = self.host.finish_append(ok);
        self.collect();
        more
    }

    fn is_member(&mut self, id: &str) -> bool {
        let consumer = self.host.describe_consumer("g");
        if let Some(group) = consumer {
            return group.members.iter().any(|member| member.member_id == id);
        }
        match self.host.ask(Request::Describe { group: "g".into() }) {
            Reply::Describe(Ok(group)) => group.members.iter().any(|member| member.member_id == id),
            _ => false,
        }
    }

    fn check(&mut self) {
        let Some(group) = self.host.describe_consumer("g") else {
            return;
        };
        let members: BTreeMap<&str, i32> = group
            .members
            .iter()
            .map(|m| (m.member_id.as_str(), m.epoch))
            .collect();
        assert_eq!(members.len(), group.members.len());
        let mut used: BTreeMap<([u8; 16], i32), &str> = BTreeMap::new();
        for client in self
            .clients
            .iter()
            .filter(|c| members.contains_key(c.id.as_str()))
        {
            for (topic, indexes) in &client.holds {
                for index in indexes {
                    let twice = used.insert((*topic, *index), &client.id);
                    assert!(
                        twice.is_none(),
                        "{twice:?} and {} use {index}: {group:#?}",
                        client.id
                    );
                }
            }
        }
        if group.state == GroupState::Stable {
            assert_eq!(group.epoch, group.assignment_epoch);
            for member in &group.members {
                assert_eq!(member.epoch, group.epoch);
                let kept = |all: &[tidegate_coordinator::NamedPartitions]| all.to_vec();
                assert_eq!(kept(&member.assignment), kept(&member.target));
            }
        }
        if self.host.in_flight.is_empty() && !self.lost {
            self.check_replay(&group);
        }
    }

    fn check_replay(&mut self, live: &tidegate_coordinator::DescribedConsumerGroup) {
        let mut reloaded = self.host.reload();
        std::mem::swap(&mut reloaded, &mut self.host.coordinator);
        let loaded = self.host.describe_consumer("g");
        std::mem::swap(&mut reloaded, &mut self.host.coordinator);
        assert_eq!(loaded.as_ref(), Some(live), "the log gives the same group");
    }

    fn calm_down(&mut self) {
        for client in &mut self.clients {
            client.topics = 3;
            client.regex = false;
            client.says_all = true;
            client.must_join = true;
        }
        self.host.set_topics(&[("t", 4), ("u", 2)]);
        for _ in 0..150 {
            while self.finish_append(true) {}
            for client in 0..CLIENTS {
                let c = &mut self.clients[client];
                c.holds = c.told.clone();
                self.act(client, true);
                while self.finish_append(true) {}
            }
            self.host.advance(1_000);
            self.check();
        }
        assert!(
            self.outstanding.is_empty(),
            "never answered: {:?}",
            self.outstanding
        );
        let Some(group) = self.host.describe_consumer("g") else {
            // Everybody speaks the classic protocol.
            assert!(self.clients.iter().all(|c| c.is_classic));
            return;
        };
        assert_eq!(group.state, GroupState::Stable, "{group:#?}");
        let mut used = 0;
        for client in &self.clients {
            let member = group.members.iter().find(|m| m.member_id == client.id);
            let member = member.unwrap_or_else(|| panic!("{client:?} is no member of {group:#?}"));
            let target: Vec<_> = member
                .target
                .iter()
                .map(|t| (t.name.clone(), t.partitions.clone()))
                .collect();
            assert_eq!(
                named(&client.holds),
                target,
                "what is used is what was meant"
            );
            used += client.holds.values().map(BTreeSet::len).sum::<usize>();
        }
        assert_eq!(used, 6, "every partition is used");
        self.check_replay(&group);
    }
}

fn hear(client: &mut Client, asked: Asked, reply: Reply) {
    let error = match reply {
        Reply::ConsumerHeartbeat(Ok(beaten)) if asked == Asked::Beat => {
            client.epoch = beaten.epoch;
            if let Some(assignment) = beaten.assignment {
                for (topic, indexes) in &assignment {
                    client.holds.entry(*topic).or_default().extend(indexes);
                }
                client.told = assignment;
            }
            return;
        }
        Reply::Join(Ok(joined)) => {
            client.id = joined.member_id;
            client.epoch = joined.generation;
            let owned = |metadata: &Bytes| owned_in(metadata);
            client.leads = joined
                .members
                .iter()
                .map(|m| (m.member_id.clone(), owned(&m.metadata)))
                .collect();
            client.must_join = false;
            client.must_sync = true;
            return;
        }
        Reply::Sync(Ok(synced)) => {
            client.holds = decode(&synced.assignment[2..]);
            client.told = client.holds.clone();
            client.must_sync = false;
            return;
        }
        Reply::ConsumerHeartbeat(Err(refusal)) => refusal.error,
        Reply::Join(Err(refusal)) => {
            if refusal.error == GroupError::MemberIdRequired {
                client.id = refusal.member_id;
                return;
            }
            refusal.error
        }
        Reply::Sync(Err(error)) | Reply::Heartbeat(Err(error)) => error,
        _ => return,
    };
    if asked == Asked::Nothing {
        return;
    }
    client.says_all = true;
    match error {
        GroupError::RebalanceInProgress => client.must_join = true,
        GroupError::CoordinatorNotAvailable | GroupError::UnreleasedInstanceId => {}
        GroupError::IllegalGeneration => client.reset(),
        _ => {
            client.reset();
            if client.is_classic {
                client.id.clear();
            }
        }
    }
}

fn named(partitions: &Partitions) -> Vec<(String, Vec<i32>)> {
    let name = |id: &[u8; 16]| {
        TOPICS
            .iter()
            .find(|name| topic_id(name) == *id)
            .unwrap()
            .to_string()
    };
    let named = partitions.iter().filter(|(_, all)| !all.is_empty());
    named
        .map(|(id, all)| (name(id), all.iter().copied().collect()))
        .collect()
}

/// Partitions out of the consumers' embedded protocol, from the count of topics on.
fn decode(bytes: &[u8]) -> Partitions {
    let mut at = 0;
    let mut number = |width: usize| {
        let digits = &bytes[at..at + width];
        at += width;
        digits
            .iter()
            .fold(0i64, |all, byte| all << 8 | i64::from(*byte))
    };
    let mut partitions = Partitions::new();
    for _ in 0..number(4) {
        // Names here are one letter long.
        assert_eq!(number(2), 1);
        let name = (number(1) as u8 as char).to_string();
        let count = number(4);
        let indexes = (0..count).map(|_| number(4) as i32).collect();
        partitions.insert(topic_id(&name), indexes);
    }
    partitions
}

/// Owned partitions out of a subscription of version 1.
fn owned_in(metadata: &Bytes) -> Partitions {
    let topics = usize::from(metadata[5]);
    decode(&metadata[2 + 4 + topics * 3 + 4..])
}

/// A cooperative leader: everybody keeps what it owns, and the first gets what is left.
fn spread(members: &[(String, Partitions)]) -> Vec<(String, Bytes)> {
    let mut free: BTreeSet<(&str, i32)> = (0..4)
        .map(|n| ("t", n))
        .chain((0..2).map(|n| ("u", n)))
        .collect();
    let mut shares: Vec<(String, BTreeMap<&str, Vec<i32>>)> = Vec::new();
    for (id, owned) in members {
        let mut share: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for name in TOPICS {
            for index in owned.get(&topic_id(name)).into_iter().flatten() {
                if free.remove(&(name, *index)) {
                    share.entry(name).or_default().push(*index);
                }
            }
        }
        shares.push((id.clone(), share));
    }
    let owned: BTreeSet<(&str, i32)> = members
        .iter()
        .flat_map(|(_, owned)| named(owned))
        .flat_map(|(name, all)| {
            let name = *TOPICS.iter().find(|t| **t == name).unwrap();
            all.into_iter().map(move |index| (name, index))
        })
        .collect();
    if let Some((_, share)) = shares.first_mut() {
        for (name, index) in free.difference(&owned) {
            share.entry(name).or_default().push(*index);
        }
    }
    let encode = |(id, share): (String, BTreeMap<&str, Vec<i32>>)| {
        let share: Vec<(&str, &[i32])> =
            share.iter().map(|(n, all)| (*n, all.as_slice())).collect();
        (id, assigned(&share))
    };
    shares.into_iter().map(encode).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn consumers_of_both_protocols_share_a_group(steps in proptest::collection::vec(steps(), 1..200)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
            world.check();
        }
        world.calm_down();
    }
}
