//! Bodies made from the schema, for the tests: a random valid one, and the one that decodes to the
//! most for its bytes.

use crate::schema::{Field, Kind, find};

/// A source of small random numbers: the test's, so that a failing case can be repeated.
pub(super) trait Draw {
    /// A number below `bound` (which is at least 1).
    fn below(&mut self, bound: u32) -> u32;
}

/// A valid body of `api_key` at `version`, empty if there is no such schema.
pub(super) fn body(api_key: i16, version: i16, draw: &mut dyn Draw) -> Vec<u8> {
    let Some(schema) = find(api_key) else {
        return Vec::new();
    };
    let mut maker = Maker {
        out: Vec::new(),
        version,
        flexible: version >= schema.flexible_from,
    };
    maker.fields(schema.fields, draw);
    maker.out
}

/// Honest bodies of about `bytes` bytes whose single huge array holds the smallest elements there
/// are: one body for each array field of the request's first level.
pub(super) fn balloon(api_key: i16, version: i16, bytes: usize) -> Vec<Ballooned> {
    let Some(schema) = find(api_key) else {
        return Vec::new();
    };
    let flexible = version >= schema.flexible_from;
    let arrays = schema
        .fields
        .iter()
        .filter(|f| f.tag.is_none() && f.is_in(version));
    arrays
        .filter_map(|field| {
            let Kind::Array { element, .. } = &field.kind else {
                return None;
            };
            let mut one = Maker {
                out: Vec::new(),
                version,
                flexible,
            };
            one.value(element, &mut Least);
            let count = bytes / one.out.len().max(1);
            let mut whole = Maker {
                out: Vec::new(),
                version,
                flexible,
            };
            whole.fields_with(schema.fields, &mut Least, Some((field.name, count)));
            Some(Ballooned {
                field: field.name,
                count,
                body: whole.out,
            })
        })
        .collect()
}

/// One body of [`balloon`].
pub(super) struct Ballooned {
    pub(super) field: &'static str,
    pub(super) count: usize,
    pub(super) body: Vec<u8>,
}

struct Least;

impl Draw for Least {
    fn below(&mut self, _: u32) -> u32 {
        0
    }
}

struct Maker {
    out: Vec<u8>,
    version: i16,
    flexible: bool,
}

impl Maker {
    fn fields(&mut self, fields: &'static [Field], draw: &mut dyn Draw) {
        self.fields_with(fields, draw, None);
    }

    fn fields_with(
        &mut self,
        fields: &'static [Field],
        draw: &mut dyn Draw,
        filled: Option<(&str, usize)>,
    ) {
        let version = self.version;
        for field in fields
            .iter()
            .filter(|f| f.tag.is_none() && f.is_in(version))
        {
            match (&field.kind, filled) {
                (Kind::Array { element, .. }, Some((name, count))) if name == field.name => {
                    self.array(element, count, draw);
                }
                (kind, _) => self.value(kind, draw),
            }
        }
        if self.flexible {
            self.tags(fields, draw);
        }
    }

    fn tags(&mut self, fields: &'static [Field], draw: &mut dyn Draw) {
        let version = self.version;
        let known = fields
            .iter()
            .filter_map(|f| f.tag.filter(|_| f.is_in(version)).map(|t| (t, f)));
        let chosen: Vec<_> = known.filter(|_| draw.below(2) == 1).collect();
        let unknown = draw.below(3);
        self.varint(chosen.len() as u32 + unknown);
        for (tag, field) in chosen {
            let mut inner = Maker {
                out: Vec::new(),
                version: self.version,
                flexible: self.flexible,
            };
            inner.value(&field.kind, draw);
            self.varint(tag);
            self.varint(inner.out.len() as u32);
            self.out.extend(inner.out);
        }
        for n in 0..unknown {
            let len = draw.below(5);
            self.varint(100 + n);
            self.varint(len);
            self.out.extend((0..len).map(|b| b as u8));
        }
    }

    fn value(&mut self, kind: &'static Kind, draw: &mut dyn Draw) {
        match kind {
            // 0 or 1, which is also what a boolean reads back as.
            Kind::Fixed(1) => self.out.push(draw.below(2) as u8),
            Kind::Fixed(size) => self.out.extend((0..*size).map(|_| draw.below(256) as u8)),
            Kind::String { nullable } if *nullable && draw.below(4) == 0 => self.len(-1, true),
            Kind::Bytes { nullable } if *nullable && draw.below(4) == 0 => self.len(-1, false),
            Kind::Array { nullable, .. } if *nullable && draw.below(4) == 0 => self.len(-1, false),
            Kind::String { .. } => {
                let len = draw.below(12);
                self.len(len as i32, true);
                self.out
                    .extend((0..len).map(|_| b'a' + draw.below(26) as u8));
            }
            Kind::Bytes { .. } => {
                let len = draw.below(200);
                self.len(len as i32, false);
                self.out.extend((0..len).map(|_| draw.below(256) as u8));
            }
            Kind::Struct(fields) => self.fields(fields, draw),
            Kind::NullableStruct(_) if draw.below(4) == 0 => self.out.push(255),
            Kind::NullableStruct(fields) => {
                self.out.push(1);
                self.fields(fields, draw);
            }
            Kind::Array { element, .. } => {
                let count = draw.below(4) as usize;
                self.array(element, count, draw);
            }
        }
    }

    fn array(&mut self, element: &'static Kind, count: usize, draw: &mut dyn Draw) {
        self.len(count as i32, false);
        for _ in 0..count {
            self.value(element, draw);
        }
    }

    fn len(&mut self, len: i32, short: bool) {
        match (self.flexible, short) {
            (true, _) => self.varint((len + 1) as u32),
            (false, true) => self.out.extend((len as i16).to_be_bytes()),
            (false, false) => self.out.extend(len.to_be_bytes()),
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}
