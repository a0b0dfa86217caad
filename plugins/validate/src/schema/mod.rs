//! A schema in a form that is quick to check: compiled once, references resolved.

mod check;
mod compile;
mod kind;

use regex_automata::meta::Regex;
use serde_json::{Number, Value};

use kind::Kinds;

/// A schema with all that it refers to. Subschemas name each other by their index.
pub(crate) struct Schema {
    parts: Vec<Part>,
}

/// The rules of one subschema; all of them must hold.
type Part = Vec<Rule>;

/// The index of a subschema.
type Id = usize;

enum Rule {
    /// The schema `false`.
    Never,
    Kinds(Kinds),
    Enum(Vec<Value>),
    Minimum(Number),
    ExclusiveMinimum(Number),
    Maximum(Number),
    ExclusiveMaximum(Number),
    MultipleOf(Number),
    /// In characters, that is Unicode code points.
    MinLength(u64),
    MaxLength(u64),
    Pattern(String, Box<Regex>),
    Items {
        prefix: Vec<Id>,
        rest: Option<Id>,
    },
    MinItems(u64),
    MaxItems(u64),
    UniqueItems,
    Contains {
        id: Id,
        min: u64,
        max: Option<u64>,
    },
    Properties(Properties),
    PropertyNames(Id),
    Required(Vec<String>),
    DependentRequired(Vec<(String, Vec<String>)>),
    DependentSchemas(Vec<(String, Id)>),
    MinProperties(u64),
    MaxProperties(u64),
    AllOf(Vec<Id>),
    AnyOf(Vec<Id>),
    OneOf(Vec<Id>),
    Not(Id),
    If {
        condition: Id,
        then: Option<Id>,
        otherwise: Option<Id>,
    },
    Ref(Id),
}

#[derive(Default)]
struct Properties {
    /// Sorted by name.
    named: Vec<(String, Id)>,
    patterns: Vec<(Regex, Id)>,
    /// Of those that neither names.
    additional: Option<Id>,
}
