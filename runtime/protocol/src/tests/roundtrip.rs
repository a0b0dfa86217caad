//! Each schema against `kafka_protocol`: a random body made from our table must pass the pre-check,
//! decode to its last byte, and encode back to the same bytes. A field missing, added, misplaced or
//! of another kind in either direction breaks one of the three.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use proptest::prelude::*;

use super::sample::{Draw, body};
use super::{DecodeBudget, every_version};
use crate::{encode_request, parse_head, take_frame};

/// Numbers out of proptest's own bytes; zeroes when they run out, so that shrinking shrinks.
struct Script<'a>(std::slice::Iter<'a, u16>);

impl Draw for Script<'_> {
    fn below(&mut self, bound: u32) -> u32 {
        u32::from(self.0.next().copied().unwrap_or(0)) % bound
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_body_made_from_the_schema_decodes_and_encodes_back(
        script in proptest::collection::vec(any::<u16>(), 0..1500)
    ) {
        for (key, version, reencode, _) in every_version() {
            let made = Bytes::from(body(key, version, &mut Script(script.iter())));
            let back = reencode(key, version, made.clone(), DecodeBudget::default());
            let back = back.unwrap_or_else(|e| panic!("API {key} v{version}: {e}: {made:?}"));
            // Tagged fields that hold their default are left out by the encoder, so such a body
            // comes back shorter; what it decodes to must then be stable.
            if back != made {
                let again = reencode(key, version, back.clone(), DecodeBudget::default());
                prop_assert_eq!(again, Ok(back.clone()), "API {} v{}", key, version);
                prop_assert!(key == 1 && back.len() < made.len(), "API {key} v{version}");
            }
        }
    }

    #[test]
    fn random_bytes_neither_panic_nor_take_more_than_the_budget(
        bytes in proptest::collection::vec(any::<u8>(), 0..300)
    ) {
        for (key, version, _, discard) in every_version() {
            let body = Bytes::from(bytes.clone());
            let (_, peak) = super::allocator::peak_bytes(
                || discard(key, version, body, DecodeBudget::default()));
            prop_assert!(peak < 64 * 1024, "API {key} v{version}: {peak}");
        }
        let _ = parse_head(&Bytes::from(bytes));
    }
}

/// Typical requests as a client's encoder writes them, through frame and header.
#[test]
fn a_clients_requests_decode_to_themselves() {
    let topic = TopicName(crate::StrBytes::from_static_str("t"));
    let partition = produce_request::PartitionProduceData::default()
        .with_index(3)
        .with_records(Some(Bytes::from_static(b"batch")));
    let data = produce_request::TopicProduceData::default()
        .with_name(topic.clone())
        .with_partition_data(vec![partition]);
    for version in 3..=12 {
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_topic_data(vec![data.clone()]);
        assert_eq!(through_the_wire(version, &request), request, "v{version}");
    }
    for version in 2..=7 {
        let topic = create_topics_request::CreatableTopic::default()
            .with_name(topic.clone())
            .with_num_partitions(6)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        assert_eq!(through_the_wire(version, &request), request, "v{version}");
    }
    for version in 0..=9 {
        let protocol = join_group_request::JoinGroupRequestProtocol::default()
            .with_name("range".into())
            .with_metadata(Bytes::from_static(b"\0\x01"));
        let request = JoinGroupRequest::default()
            .with_protocol_type("consumer".into())
            .with_protocols(vec![protocol]);
        assert_eq!(through_the_wire(version, &request), request, "v{version}");
    }
}

fn through_the_wire<R: crate::Request>(version: i16, request: &R) -> R {
    let bytes = encode_request(version, 1, "test", request).unwrap();
    let frame = take_frame(&mut BytesMut::from(&bytes[..]), 1 << 20)
        .unwrap()
        .unwrap();
    let (head, body) = parse_head(&frame).unwrap();
    crate::decode(
        head.api_key,
        head.api_version,
        body,
        DecodeBudget::default(),
    )
    .unwrap()
}
