//! Frames of several parts: records that are kept elsewhere go to the socket from where they are.
//!
//! A response is encoded as the message crate does it, with an empty record set in each partition; the batches are then
//! put between what it wrote. So a fetch of cached batches copies none of their bytes, however many there are.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData, SnapshotId,
};
use kafka_protocol::messages::{ApiKey, FetchResponse, ResponseHeader};
use kafka_protocol::protocol::Encodable;

use crate::encode::{EncodeError, encode_response};
use crate::frame::PREFIX_LEN;

/// First version with compact lengths and tagged fields, and the first that names topics by id only.
const FLEXIBLE: i16 = 12;
const TOPIC_IDS: i16 = 13;
/// First version with an error code and a session.
const SESSIONS: i16 = 7;
const FETCH: i16 = ApiKey::Fetch as i16;

/// One response frame with its length prefix, in the parts that are written one after another.
#[derive(Clone, Debug)]
pub struct Frame {
    parts: Vec<Bytes>,
}

impl Frame {
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// Bytes of all parts.
    pub fn size(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

impl From<Bytes> for Frame {
    fn from(whole: Bytes) -> Frame {
        Frame { parts: vec![whole] }
    }
}

/// The record sets of one Fetch response while it is made: a partition of the response holds a token for its batches.
#[derive(Debug, Default)]
pub struct RecordSets(Vec<Vec<Bytes>>);

impl RecordSets {
    /// Keeps the batches of one partition and gives what stands for them in its `records`; empty for none.
    pub fn keep(&mut self, batches: Vec<Bytes>) -> Bytes {
        if batches.iter().all(Bytes::is_empty) {
            return Bytes::new();
        }
        let token = Bytes::copy_from_slice(&self.0.len().to_be_bytes());
        self.0.push(batches);
        token
    }

    fn of(&self, token: &Bytes) -> Option<&[Bytes]> {
        let number = usize::from_be_bytes(token.as_ref().try_into().ok()?);
        self.0.get(number).map(Vec::as_slice)
    }
}

/// As [`encode_response`] for a Fetch response whose records are tokens of `sets`, without copying the records.
pub fn encode_fetch_response(
    version: i16,
    correlation_id: i32,
    response: &FetchResponse,
    sets: &RecordSets,
) -> Result<Frame, EncodeError> {
    let mut writer = Writer {
        version,
        sets,
        bytes: BytesMut::new(),
        shared: Vec::new(),
    };
    let plain = response.node_endpoints.is_empty() && response.unknown_tagged_fields.is_empty();
    match plain && writer.response(correlation_id, response)?.is_some() {
        true => writer.finish(),
        false => copied(version, correlation_id, response, sets),
    }
}

/// For what the writer does not know: fields that no broker of this version sets.
fn copied(
    version: i16,
    correlation_id: i32,
    response: &FetchResponse,
    sets: &RecordSets,
) -> Result<Frame, EncodeError> {
    let mut response = response.clone();
    let partitions = response
        .responses
        .iter_mut()
        .flat_map(|t| &mut t.partitions);
    for data in partitions {
        let batches = data.records.as_ref().and_then(|token| sets.of(token));
        if let Some(batches) = batches {
            data.records = Some(batches.concat().into());
        }
    }
    Ok(encode_response(FETCH, version, correlation_id, &response)?.into())
}

struct Writer<'a> {
    version: i16,
    sets: &'a RecordSets,
    /// Everything but the shared parts.
    bytes: BytesMut,
    /// The batches of each record set, with the place in `bytes` before which they come.
    shared: Vec<(usize, &'a [Bytes])>,
}

impl Writer<'_> {
    /// None where something is set that only the message crate writes.
    fn response(
        &mut self,
        correlation_id: i32,
        response: &FetchResponse,
    ) -> Result<Option<()>, EncodeError> {
        self.bytes.put_i32(0);
        let header = ResponseHeader::default().with_correlation_id(correlation_id);
        let header_version = ApiKey::Fetch.response_header_version(self.version);
        header
            .encode(&mut self.bytes, header_version)
            .map_err(|error| self.refused(error))?;
        self.bytes.put_i32(response.throttle_time_ms);
        if self.version >= SESSIONS {
            self.bytes.put_i16(response.error_code);
            self.bytes.put_i32(response.session_id);
        }
        self.count(response.responses.len())?;
        for topic in &response.responses {
            if self.topic(topic)?.is_none() {
                return Ok(None);
            }
        }
        self.no_tags();
        Ok(Some(()))
    }

    fn topic(&mut self, topic: &FetchableTopicResponse) -> Result<Option<()>, EncodeError> {
        if !topic.unknown_tagged_fields.is_empty() {
            return Ok(None);
        }
        match self.version {
            TOPIC_IDS.. => self.bytes.put_slice(topic.topic_id.as_bytes()),
            FLEXIBLE => {
                self.count(topic.topic.len())?;
                self.bytes.put_slice(topic.topic.as_bytes());
            }
            _ => {
                let len = i16::try_from(topic.topic.len()).map_err(|e| self.refused(e))?;
                self.bytes.put_i16(len);
                self.bytes.put_slice(topic.topic.as_bytes());
            }
        }
        self.count(topic.partitions.len())?;
        for data in &topic.partitions {
            if self.partition(data)?.is_none() {
                return Ok(None);
            }
        }
        self.no_tags();
        Ok(Some(()))
    }

    fn partition(&mut self, data: &PartitionData) -> Result<Option<()>, EncodeError> {
        let sets = self.sets;
        let batches = data.records.as_ref().and_then(|token| sets.of(token));
        let bare = data.clone().with_records(Some(Bytes::new()));
        bare.encode(&mut self.bytes, self.version)
            .map_err(|error| self.refused(error))?;
        let Some(batches) = batches else {
            return Ok(Some(()));
        };
        if has_tags(data) {
            return Ok(None);
        }
        // What the message crate wrote ends in an empty record set, and in no tagged field.
        let empty: &[u8] = match self.version >= FLEXIBLE {
            true => &[1, 0],
            false => &[0; 4],
        };
        if !self.bytes.ends_with(empty) {
            return Ok(None);
        }
        self.bytes.truncate(self.bytes.len() - empty.len());
        self.count(batches.iter().map(Bytes::len).sum())?;
        self.shared.push((self.bytes.len(), batches));
        self.no_tags();
        Ok(Some(()))
    }

    /// The length of an array, of bytes or of a flexible string.
    fn count(&mut self, count: usize) -> Result<(), EncodeError> {
        let known = i32::try_from(count).map_err(|error| self.refused(error))?;
        if self.version < FLEXIBLE {
            self.bytes.put_i32(known);
            return Ok(());
        }
        let mut left = count.saturating_add(1);
        while left >= 0x80 {
            self.bytes.put_u8((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        self.bytes.put_u8(left as u8);
        Ok(())
    }

    fn no_tags(&mut self) {
        if self.version >= FLEXIBLE {
            self.bytes.put_u8(0);
        }
    }

    fn finish(mut self) -> Result<Frame, EncodeError> {
        let shared: usize = self
            .shared
            .iter()
            .flat_map(|(_, batches)| batches.iter().map(Bytes::len))
            .sum();
        let size = self.bytes.len() - PREFIX_LEN + shared;
        let prefix = i32::try_from(size).map_err(|_| EncodeError::TooLarge {
            api_key: FETCH,
            version: self.version,
            size,
        })?;
        if let Some(place) = self.bytes.first_chunk_mut::<PREFIX_LEN>() {
            *place = prefix.to_be_bytes();
        }
        let mut rest = self.bytes.freeze();
        let mut parts = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut taken = 0;
        for (at, batches) in self.shared {
            parts.push(rest.split_to(at - taken));
            taken = at;
            parts.extend(batches.iter().cloned());
        }
        parts.push(rest);
        parts.retain(|part| !part.is_empty());
        Ok(Frame { parts })
    }

    fn refused(&self, reason: impl ToString) -> EncodeError {
        EncodeError::Message {
            api_key: FETCH,
            version: self.version,
            reason: reason.to_string(),
        }
    }
}

/// Whether tagged fields come after the records.
fn has_tags(data: &PartitionData) -> bool {
    data.diverging_epoch != EpochEndOffset::default()
        || data.current_leader != LeaderIdAndEpoch::default()
        || data.snapshot_id != SnapshotId::default()
        || !data.unknown_tagged_fields.is_empty()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn partition(index: i32, records: Bytes) -> PartitionData {
        PartitionData::default()
            .with_partition_index(index)
            .with_high_watermark(70)
            .with_records(Some(records))
    }

    fn response(version: i16, partitions: Vec<PartitionData>) -> FetchResponse {
        let mut topic = FetchableTopicResponse::default().with_partitions(partitions);
        if version < TOPIC_IDS {
            topic.topic = TopicName(StrBytes::from_static_str("events"));
        }
        let response = FetchResponse::default()
            .with_throttle_time_ms(3)
            .with_responses(vec![topic.clone(), topic]);
        match version >= SESSIONS {
            true => response.with_session_id(11),
            false => response,
        }
    }

    /// Batches of every size that takes another number of bytes to say.
    fn batches() -> Vec<Vec<Bytes>> {
        let of = |len: usize| Bytes::from(vec![len as u8; len]);
        vec![
            vec![of(61)],
            Vec::new(),
            vec![of(126), of(1)],
            vec![of(16_382)],
            vec![of(20_000), of(7), of(3_000_000)],
        ]
    }

    #[test]
    fn the_bytes_are_those_of_a_frame_that_was_copied() {
        for version in 4..=18 {
            let mut sets = RecordSets::default();
            let indexed = || (0..).zip(batches());
            let tokens = indexed().map(|(i, b)| partition(i, sets.keep(b))).collect();
            let shared = response(version, tokens);
            let frame = encode_fetch_response(version, 5, &shared, &sets).unwrap();
            let copies = indexed().map(|(i, b)| partition(i, b.concat().into()));
            let copied = response(version, copies.collect());
            let expected = encode_response(FETCH, version, 5, &copied).unwrap();
            assert_eq!(frame.parts().concat(), expected, "version {version}");
            assert_eq!(frame.size(), expected.len());
        }
    }

    #[test]
    fn batches_are_not_copied() {
        let batch = Bytes::from(vec![7; 5000]);
        let mut sets = RecordSets::default();
        let response = response(12, vec![partition(0, sets.keep(vec![batch.clone(); 3]))]);
        let frame = encode_fetch_response(12, 1, &response, &sets).unwrap();
        let shared = frame
            .parts()
            .iter()
            .filter(|p| p.as_ptr() == batch.as_ptr());
        assert_eq!(shared.count(), 6, "three batches, told in two topics");
    }

    #[test]
    fn fields_beside_the_records_are_not_lost() {
        let batch = Bytes::from(vec![7; 500]);
        let diverging = EpochEndOffset::default().with_epoch(3).with_end_offset(1);
        let with = |records| {
            let data = partition(0, records).with_diverging_epoch(diverging.clone());
            response(16, vec![data])
        };
        let mut sets = RecordSets::default();
        let shared = with(sets.keep(vec![batch.clone()]));
        let frame = encode_fetch_response(16, 1, &shared, &sets).unwrap();
        let expected = encode_response(FETCH, 16, 1, &with(batch)).unwrap();
        assert_eq!(frame.parts().concat(), expected);
    }

    #[test]
    fn what_was_not_kept_is_an_empty_record_set() {
        let mut sets = RecordSets::default();
        assert!(sets.keep(Vec::new()).is_empty());
        assert!(sets.keep(vec![Bytes::new()]).is_empty());
        let response = response(11, vec![partition(0, Bytes::new())]);
        let frame = encode_fetch_response(11, 1, &response, &sets).unwrap();
        let expected = encode_response(FETCH, 11, 1, &response).unwrap();
        assert_eq!(frame.parts(), [expected]);
    }
}
