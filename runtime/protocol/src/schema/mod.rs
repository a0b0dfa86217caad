//! What the bytes of each request look like, as tables: one row a field, in wire order.
//!
//! The tables repeat Kafka's message definitions for the versions we serve, so that a body can be
//! measured before it is decoded. Nullability is per field, not per version, because that is what
//! the decoder does. Property tests hold every table against `kafka_protocol`'s own encoder.

mod admin;
mod data;
mod groups;
mod quotas;
mod transactions;

/// One API: the versions with a schema and the body's fields.
pub(crate) struct Schema {
    pub(crate) api_key: i16,
    pub(crate) min: i16,
    pub(crate) max: i16,
    /// First version with compact lengths and tagged fields (KIP-482).
    pub(crate) flexible_from: i16,
    pub(crate) fields: &'static [Field],
}

pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Versions that carry the field, both inclusive.
    pub(crate) from: i16,
    pub(crate) to: i16,
    /// Set: the field travels in the tagged section under this number.
    pub(crate) tag: Option<u32>,
}

pub(crate) enum Kind {
    /// Booleans, integers, floats, UUIDs: this many bytes.
    Fixed(usize),
    String {
        nullable: bool,
    },
    Bytes {
        nullable: bool,
    },
    Struct(&'static [Field]),
    Array {
        nullable: bool,
        element: &'static Kind,
        /// Bytes one element takes in the decoded `Vec`.
        decoded_size: usize,
    },
}

impl Field {
    pub(crate) fn is_in(&self, version: i16) -> bool {
        (self.from..=self.to).contains(&version)
    }

    const fn from(mut self, version: i16) -> Field {
        self.from = version;
        self
    }

    const fn to(mut self, version: i16) -> Field {
        self.to = version;
        self
    }

    const fn tag(mut self, tag: u32) -> Field {
        self.tag = Some(tag);
        self
    }
}

/// The schema of one API, if it is served at all.
pub(crate) fn find(api_key: i16) -> Option<&'static Schema> {
    all().find(|schema| schema.api_key == api_key)
}

pub(crate) fn all() -> impl Iterator<Item = &'static Schema> {
    data::SCHEMAS
        .iter()
        .chain(groups::SCHEMAS)
        .chain(admin::SCHEMAS)
        .chain(transactions::SCHEMAS)
        .chain(quotas::SCHEMAS)
}

const BOOL: Kind = Kind::Fixed(1);
const I8: Kind = Kind::Fixed(1);
const I16: Kind = Kind::Fixed(2);
const I32: Kind = Kind::Fixed(4);
const I64: Kind = Kind::Fixed(8);
const F64: Kind = Kind::Fixed(8);
const UUID: Kind = Kind::Fixed(16);
const STRING: Kind = Kind::String { nullable: false };
const NULLABLE_STRING: Kind = Kind::String { nullable: true };
const BYTES: Kind = Kind::Bytes { nullable: false };
const NULLABLE_BYTES: Kind = Kind::Bytes { nullable: true };

const I32_ARRAY: Kind = Kind::Array {
    nullable: false,
    element: &I32,
    decoded_size: 4,
};
const NULLABLE_I32_ARRAY: Kind = Kind::Array {
    nullable: true,
    element: &I32,
    decoded_size: 4,
};
const STRING_ARRAY: Kind = strings(false);
const NULLABLE_STRING_ARRAY: Kind = strings(true);

const fn strings(nullable: bool) -> Kind {
    let decoded_size = size_of::<kafka_protocol::protocol::StrBytes>();
    Kind::Array {
        nullable,
        element: &STRING,
        decoded_size,
    }
}

const fn f(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        from: 0,
        to: i16::MAX,
        tag: None,
    }
}

/// `structs!(T, FIELDS)`: an array of `T`; `structs!(? T, FIELDS)`: one that may be null.
macro_rules! structs {
    (? $type:ty, $fields:expr) => {
        $crate::schema::Kind::Array {
            nullable: true,
            element: &$crate::schema::Kind::Struct($fields),
            decoded_size: size_of::<$type>(),
        }
    };
    ($type:ty, $fields:expr) => {
        $crate::schema::Kind::Array {
            nullable: false,
            element: &$crate::schema::Kind::Struct($fields),
            decoded_size: size_of::<$type>(),
        }
    };
}
use structs;
