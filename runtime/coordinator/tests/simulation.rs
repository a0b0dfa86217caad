//! Random clients against a coordinator, with a log that may refuse.
//!
//! After every step: each token is answered at most once; members that hold an assignment of the
//! current stable generation hold the one its leader gave; what the log holds gives the same offsets
//! and, when all is quiet, the same groups. At the end, when everyone is silent, every token has been
//! answered and no timer is left.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use support::*;
use tidegate_coordinator::{
    GroupOptions, GroupState, JoinRequest, LeavingMember, Reply, Request, SyncRequest, Token,
};

#[derive(Clone, Debug)]
enum Step {
    Join {
        client: usize,
        v4: bool,
        change: bool,
    },
    Sync {
        client: usize,
    },
    Heartbeat {
        client: usize,
    },
    Leave {
        client: usize,
    },
    Commit {
        client: usize,
        partition: i32,
    },
    Restart {
        client: usize,
    },
    Delete,
    Append {
        ok: bool,
    },
    Wait {
        ms: i64,
    },
    Disconnect {
        client: usize,
    },
    Crash,
}

fn steps() -> impl Strategy<Value = Step> {
    let client = 0..5usize;
    prop_oneof![
        8 => (client.clone(), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(client, v4, change)| Step::Join { client, v4, change }),
        8 => client.clone().prop_map(|client| Step::Sync { client }),
        4 => client.clone().prop_map(|client| Step::Heartbeat { client }),
        1 => client.clone().prop_map(|client| Step::Leave { client }),
        4 => (client.clone(), 0..3i32)
            .prop_map(|(client, partition)| Step::Commit { client, partition }),
        1 => client.clone().prop_map(|client| Step::Restart { client }),
        1 => Just(Step::Delete),
        8 => prop::bool::weighted(0.9).prop_map(|ok| Step::Append { ok }),
        6 => prop_oneof![0..200i64, 2_900..3_100i64, 9_000..70_000i64]
            .prop_map(|ms| Step::Wait { ms }),
        1 => client.prop_map(|client| Step::Disconnect { client }),
        1 => Just(Step::Crash),
    ]
}

#[derive(Default)]
struct Client {
    member: String,
    generation: i32,
    leads: Vec<String>,
    asked: Option<(Token, &'static str)>,
    topics: u8,
    assignment: Option<(i32, Bytes)>,
}

struct World {
    host: Host,
    clients: Vec<Client>,
    outstanding: BTreeSet<Token>,
    /// What each leader handed in, by generation, in the order handed in.
    handed_in: BTreeMap<i32, Vec<BTreeMap<String, Bytes>>>,
    next_offset: i64,
    stored: BTreeMap<(String, i32), i64>,
    /// The newest record of the group itself was refused. Nothing repeats that of an empty
    /// generation: after a load the old members expire again.
    newest_lost: bool,
}

impl World {
    fn new() -> World {
        let mut host = Host::with(GroupOptions::default());
        host.prompt = false;
        World {
            host,
            clients: (0..5).map(|_| Client::default()).collect(),
            outstanding: BTreeSet::new(),
            handed_in: BTreeMap::new(),
            next_offset: 0,
            stored: BTreeMap::new(),
            newest_lost: false,
        }
    }

    /// The last two clients are static.
    fn instance(client: usize) -> Option<String> {
        (client >= 3).then(|| format!("i{client}"))
    }

    fn send(&mut self, client: usize, kind: &'static str, request: Request) {
        let token = self.host.send(request);
        self.outstanding.insert(token);
        self.clients[client].asked = Some((token, kind));
        self.collect();
    }

    fn collect(&mut self) {
        let replies = std::mem::take(&mut self.host.replies);
        for (token, reply) in replies {
            assert!(
                self.outstanding.remove(&token),
                "{token} was not waiting: {reply:?}"
            );
            let Some(client) = self
                .clients
                .iter_mut()
                .find(|c| c.asked.is_some_and(|(t, _)| t == token))
            else {
                continue;
            };
            client.asked = None;
            match reply {
                Reply::Join(Ok(joined)) => {
                    client.member = joined.member_id;
                    client.generation = joined.generation;
                    client.leads = joined.members.into_iter().map(|m| m.member_id).collect();
                }
                Reply::Join(Err(refusal)) => client.member = refusal.member_id,
                Reply::Sync(Ok(synced)) => {
                    client.assignment = Some((client.generation, synced.assignment));
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Join { client, v4, change } => {
                let c = &mut self.clients[client];
                c.topics = c.topics.wrapping_add(u8::from(change));
                let request = JoinRequest {
                    group_instance_id: World::instance(client),
                    require_known_member: v4,
                    supports_skip_assignment: v4,
                    protocols: vec![("range".into(), Bytes::from(vec![c.topics]))],
                    ..join("g", &c.member)
                };
                self.send(client, "join", Request::Join(request));
            }
            Step::Sync { client } => {
                let c = &self.clients[client];
                let given: BTreeMap<String, Bytes> = c
                    .leads
                    .iter()
                    .map(|id| (id.clone(), Bytes::from(format!("{id} in {}", c.generation))))
                    .collect();
                if !given.is_empty() {
                    self.handed_in
                        .entry(c.generation)
                        .or_default()
                        .push(given.clone());
                }
                let request = SyncRequest {
                    group: "g".into(),
                    generation: c.generation,
                    member_id: c.member.clone(),
                    group_instance_id: World::instance(client),
                    assignments: given.into_iter().collect(),
                    ..SyncRequest::default()
                };
                self.send(client, "sync", Request::Sync(request));
            }
            Step::Heartbeat { client } => {
                let c = &self.clients[client];
                let request = Request::Heartbeat {
                    group: "g".into(),
                    generation: c.generation,
                    member_id: c.member.clone(),
                    group_instance_id: World::instance(client),
                };
                self.send(client, "heartbeat", request);
            }
            Step::Leave { client } => {
                let member_id = std::mem::take(&mut self.clients[client].member);
                let group_instance_id = World::instance(client);
                let members = vec![LeavingMember {
                    member_id,
                    group_instance_id,
                }];
                self.send(
                    client,
                    "leave",
                    Request::Leave {
                        group: "g".into(),
                        members,
                    },
                );
            }
            Step::Commit { client, partition } => {
                let c = &self.clients[client];
                self.next_offset += 1;
                let generation = if c.member.is_empty() {
                    -1
                } else {
                    c.generation
                };
                let request = Request::CommitOffsets {
                    group: "g".into(),
                    generation,
                    member_id: c.member.clone(),
                    group_instance_id: World::instance(client).filter(|_| generation >= 0),
                    knows_epochs: true,
                    offsets: vec![("t".into(), partition, at(self.next_offset))],
                };
                self.send(client, "commit", request);
            }
            Step::Restart { client } => self.clients[client].member.clear(),
            Step::Delete => {
                let request = Request::DeleteGroups {
                    groups: vec!["g".into()],
                };
                self.send(0, "delete", request);
            }
            Step::Append { ok } => {
                self.finish_append(ok);
            }
            Step::Wait { ms } => self.host.advance(ms),
            Step::Disconnect { client } => {
                if let Some((token, _)) = self.clients[client].asked.take() {
                    self.host.coordinator.disconnect(token);
                    self.outstanding.remove(&token);
                }
            }
            Step::Crash => {
                // What was in flight may or may not be in the log; here it is not. Nobody is answered.
                self.host.in_flight.clear();
                self.host.coordinator = self.host.reload();
                self.outstanding.clear();
                self.clients
                    .iter_mut()
                    .for_each(|client| client.asked = None);
            }
        }
        self.collect();
    }

    fn finish_append(&mut self, ok: bool) -> bool {
        let length = self.host.log.len();
        let group_key = tidegate_coordinator::records::group_key("g");
        let concerned = if ok { 1 } else { usize::MAX };
        let mut outcomes = self.host.in_flight.iter().take(concerned);
        if outcomes.any(|(_, records)| records.iter().any(|(key, _)| *key == group_key)) {
            self.newest_lost = !ok;
        }
        let more = self.host.finish_append(ok);
        for (key, value) in &self.host.log[length..] {
            use tidegate_coordinator::records::{Record, decode};
            if let Record::Offset {
                topic,
                partition,
                value,
                ..
            } = decode(key, value.as_deref()).unwrap()
            {
                match value {
                    Some(value) => self.stored.insert((topic, partition), value.offset),
                    None => self.stored.remove(&(topic, partition)),
                };
            }
        }
        self.collect();
        more
    }

    fn check(&mut self) {
        assert_eq!(fetch_all(&mut self.host.coordinator, "g"), self.stored);
        assert_eq!(fetch_all(&mut self.host.reload(), "g"), self.stored);
        let Some(group) = self.describe() else { return };
        let members: BTreeSet<_> = group.members.iter().map(|m| &m.member_id).collect();
        assert_eq!(members.len(), group.members.len());
        let instances: Vec<_> = group
            .members
            .iter()
            .filter_map(|m| m.group_instance_id.as_ref())
            .collect();
        let distinct: BTreeSet<_> = instances.iter().collect();
        assert_eq!(instances.len(), distinct.len(), "one member per instance");
        if group.state != GroupState::Stable {
            return;
        }
        // All assignments of a stable generation are from one handing in.
        let given = self
            .handed_in
            .get(&group.generation)
            .cloned()
            .unwrap_or_default();
        let one = given.iter().any(|given| {
            group.members.iter().all(|member| {
                let exact = given.get(&member.member_id).cloned().unwrap_or_default();
                // A static member under a new id keeps what its old id got.
                member.assignment == exact
                    || (member.group_instance_id.is_some()
                        && given.values().any(|value| *value == member.assignment))
            })
        });
        assert!(
            one,
            "generation {}: {group:?} from {given:?}",
            group.generation
        );
        for client in self
            .clients
            .iter()
            .filter(|client| members.contains(&client.member))
        {
            if let Some((generation, assignment)) = &client.assignment
                && *generation == group.generation
                && client.generation == group.generation
                && client.member.starts_with("app")
            {
                let own = group
                    .members
                    .iter()
                    .find(|m| m.member_id == client.member)
                    .unwrap();
                assert_eq!(
                    assignment, &own.assignment,
                    "{} in {generation}",
                    client.member
                );
            }
        }
    }

    fn describe(&mut self) -> Option<tidegate_coordinator::DescribedGroup> {
        let token = self.host.send(Request::Describe { group: "g".into() });
        match self.host.take(token) {
            Some(Reply::Describe(described)) => described.ok(),
            other => panic!("{other:?}"),
        }
    }

    fn calm_down(&mut self) {
        while self.finish_append(true) {}
        for _ in 0..20 {
            self.host.advance(100_000);
            while self.finish_append(true) {}
        }
        self.collect();
        assert!(
            self.outstanding.is_empty(),
            "never answered: {:?}",
            self.outstanding
        );
        assert_eq!(self.host.coordinator.next_deadline(), None);
        self.check();
        let live = self.describe();
        if let Some(live) = &live {
            assert_eq!(live.state, GroupState::Empty);
        }
        self.host.coordinator = self.host.reload();
        let loaded = self.describe();
        let facts = |group: &Option<tidegate_coordinator::DescribedGroup>| {
            group
                .as_ref()
                .map(|g| (g.state, g.generation, g.members.clone()))
                .unwrap_or((GroupState::Empty, 0, vec![]))
        };
        if !self.newest_lost {
            assert_eq!(facts(&live), facts(&loaded), "the log gives the same group");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn random_groups_stay_sane(steps in proptest::collection::vec(steps(), 1..150)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
            world.check();
        }
        world.calm_down();
    }
}

/// Four well-behaved clients that follow the protocol reach a stable group again after every change.
#[test]
fn well_behaved_clients_converge() {
    for seed in 0..200u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let mut world = World::new();
        for _ in 0..30 {
            let client = next(5) as usize;
            match next(6) {
                0 => world.run(&Step::Leave { client }),
                1 => world.run(&Step::Restart { client }),
                2 => world.run(&Step::Append { ok: false }),
                3 => world.run(&Step::Wait {
                    ms: next(20_000) as i64,
                }),
                4 => world.run(&Step::Crash),
                _ => world.run(&Step::Join {
                    client,
                    v4: true,
                    change: true,
                }),
            }
        }
        settle(&mut world);
        let group = world.describe().unwrap();
        assert_eq!(group.state, GroupState::Stable, "seed {seed}");
        assert_eq!(group.members.len(), 5, "seed {seed}");
        world.check();
    }
}

/// Lets every client do what a real one does until all is stable.
fn settle(world: &mut World) {
    for _ in 0..400 {
        for client in 0..5 {
            while world.finish_append(true) {}
            if world.clients[client].asked.is_some() {
                continue;
            }
            let token = world.host.send(Request::Heartbeat {
                group: "g".into(),
                generation: world.clients[client].generation,
                member_id: world.clients[client].member.clone(),
                group_instance_id: World::instance(client),
            });
            let Some(Reply::Heartbeat(beat)) = world.host.take(token) else {
                panic!()
            };
            let c = &mut world.clients[client];
            let synced = c
                .assignment
                .as_ref()
                .is_some_and(|(g, _)| *g == c.generation);
            match beat.map_err(|error| error.code()) {
                Ok(()) if synced => {}
                Ok(()) => world.run(&Step::Sync { client }),
                Err(27) => world.run(&Step::Join {
                    client,
                    v4: true,
                    change: false,
                }),
                Err(_) => {
                    c.member.clear();
                    c.assignment = None;
                    world.run(&Step::Join {
                        client,
                        v4: true,
                        change: false,
                    });
                    if !world.clients[client].member.is_empty()
                        && world.clients[client].asked.is_none()
                    {
                        world.run(&Step::Join {
                            client,
                            v4: true,
                            change: false,
                        });
                    }
                }
            }
        }
        world.run(&Step::Wait { ms: 1_000 });
    }
}
