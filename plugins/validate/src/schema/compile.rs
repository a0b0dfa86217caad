//! From the JSON of a schema to rules. What is not understood is refused: a schema that is half
//! ignored lets through what its author meant to keep out.

use std::{collections::BTreeMap, fmt};

use regex_automata::{meta::Regex, util::syntax};
use serde_json::{Map, Number, Value};

use super::{Id, Kinds, Part, Properties, Rule, Schema};

/// How many subschemas there may be; each is compiled once, however often it is referred to.
const MAX_PARTS: usize = 10_000;
/// How deep schemas may stand in each other.
const MAX_DEPTH: usize = 100;
/// How large a compiled expression may be, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// Keywords that say nothing about whether a value fits; `format` is one of them in draft 2020-12.
const NOTES: &[&str] = &[
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentMediaType",
    "contentEncoding",
    "contentSchema",
];

/// What `$schema` may say: keywords that two of these understand differently are refused.
const DIALECTS: &[&str] = &[
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
];

/// Read together with another keyword.
const COMPANIONS: &[&str] = &[
    "prefixItems",
    "items",
    "minContains",
    "maxContains",
    "patternProperties",
    "additionalProperties",
    "then",
    "else",
];

/// Of draft 2020-12, or of an earlier one.
const UNSUPPORTED: &[&str] = &[
    "$id",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
    "$vocabulary",
    "unevaluatedItems",
    "unevaluatedProperties",
    "additionalItems",
    "dependencies",
    "id",
];

/// What is wrong with a schema; reads on from the word `schema`.
#[derive(Debug)]
pub(crate) struct SchemaError {
    /// A JSON pointer into the schema.
    at: String,
    reason: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            write!(f, ": {}", self.reason)
        } else {
            write!(f, " at {}: {}", self.at, self.reason)
        }
    }
}

impl Schema {
    pub(crate) fn compile(root: &Value) -> Result<Self, SchemaError> {
        let mut compiler = Compiler {
            root,
            parts: Vec::new(),
            known: BTreeMap::new(),
            depth: 0,
        };
        compiler.at(root, String::new())?;
        Ok(Self {
            parts: compiler.parts,
        })
    }
}

struct Compiler<'a> {
    root: &'a Value,
    parts: Vec<Part>,
    /// By pointer, so that a schema may refer to itself.
    known: BTreeMap<String, Id>,
    depth: usize,
}

type Result<T, E = SchemaError> = std::result::Result<T, E>;

impl Compiler<'_> {
    fn at(&mut self, schema: &Value, at: String) -> Result<Id> {
        if let Some(id) = self.known.get(&at) {
            return Ok(*id);
        }
        if self.parts.len() == MAX_PARTS {
            return wrong(
                &at,
                format!("there are more than {MAX_PARTS} schemas in it"),
            );
        }
        if self.depth == MAX_DEPTH {
            return wrong(&at, format!("it nests deeper than {MAX_DEPTH} schemas"));
        }
        let id = self.parts.len();
        self.parts.push(Part::new());
        self.known.insert(at.clone(), id);
        self.depth += 1;
        self.parts[id] = match schema {
            Value::Bool(true) => Part::new(),
            Value::Bool(false) => vec![Rule::Never],
            Value::Object(keywords) => self.rules(keywords, &at)?,
            _ => return wrong(&at, "a schema is an object, true or false"),
        };
        self.depth -= 1;
        Ok(id)
    }

    fn rules(&mut self, keywords: &Map<String, Value>, at: &str) -> Result<Part> {
        let mut rules = Part::new();
        for (keyword, value) in keywords {
            let here = child(at, keyword);
            match self.rule(keyword, value, &here, keywords) {
                Ok(Some(rule)) => rules.push(rule),
                Ok(None) => {}
                // It is the keyword that is wrong, not what it says.
                Err(error) if error.at.is_empty() && !at.is_empty() => {
                    return wrong(at, error.reason);
                }
                Err(error) => return Err(error),
            }
        }
        if ["items", "prefixItems"]
            .iter()
            .any(|k| keywords.contains_key(*k))
        {
            rules.push(self.items(keywords, at)?);
        }
        let of_properties = ["properties", "patternProperties", "additionalProperties"];
        if of_properties.iter().any(|k| keywords.contains_key(*k)) {
            rules.push(self.properties(keywords, at)?);
        }
        Ok(rules)
    }

    fn rule(
        &mut self,
        keyword: &str,
        value: &Value,
        at: &str,
        beside: &Map<String, Value>,
    ) -> Result<Option<Rule>> {
        Ok(Some(match keyword {
            "type" => Rule::Kinds(kinds(value, at)?),
            "enum" => Rule::Enum(array(value, at)?.clone()),
            "const" => Rule::Enum(vec![value.clone()]),
            "minimum" => Rule::Minimum(number(value, at)?),
            "exclusiveMinimum" => Rule::ExclusiveMinimum(number(value, at)?),
            "maximum" => Rule::Maximum(number(value, at)?),
            "exclusiveMaximum" => Rule::ExclusiveMaximum(number(value, at)?),
            "multipleOf" => Rule::MultipleOf(divisor(value, at)?),
            "minLength" => Rule::MinLength(count(value, at)?),
            "maxLength" => Rule::MaxLength(count(value, at)?),
            "pattern" => {
                let text = string(value, at)?;
                Rule::Pattern(text.into(), Box::new(regex(text, at)?))
            }
            "minItems" => Rule::MinItems(count(value, at)?),
            "maxItems" => Rule::MaxItems(count(value, at)?),
            "uniqueItems" => match value {
                Value::Bool(true) => Rule::UniqueItems,
                Value::Bool(false) => return Ok(None),
                _ => return wrong(at, "it is true or false"),
            },
            "contains" => Rule::Contains {
                id: self.at(value, at.into())?,
                min: beside
                    .get("minContains")
                    .map_or(Ok(1), |min| count(min, at))?,
                max: beside
                    .get("maxContains")
                    .map(|max| count(max, at))
                    .transpose()?,
            },
            "propertyNames" => Rule::PropertyNames(self.at(value, at.into())?),
            "required" => Rule::Required(strings(value, at)?),
            "dependentRequired" => {
                let names = object(value, at)?
                    .iter()
                    .map(|(name, needs)| Ok((name.clone(), strings(needs, &child(at, name))?)));
                Rule::DependentRequired(names.collect::<Result<_>>()?)
            }
            "dependentSchemas" => Rule::DependentSchemas(self.by_name(value, at)?),
            "minProperties" => Rule::MinProperties(count(value, at)?),
            "maxProperties" => Rule::MaxProperties(count(value, at)?),
            "allOf" => Rule::AllOf(self.list(value, at)?),
            "anyOf" => Rule::AnyOf(self.list(value, at)?),
            "oneOf" => Rule::OneOf(self.list(value, at)?),
            "not" => Rule::Not(self.at(value, at.into())?),
            "if" => self.condition(value, at, beside)?,
            "$ref" => Rule::Ref(self.reference(string(value, at)?, at)?),
            "$schema" => {
                let dialect = string(value, at)?;
                if !DIALECTS.contains(&dialect.trim_end_matches('#')) {
                    return wrong(
                        at,
                        format!("`{dialect}` is not one of {}", DIALECTS.join(", ")),
                    );
                }
                return Ok(None);
            }
            // References are to this schema only, whatever it is called.
            "$id" if at == "/$id" => return Ok(None),
            // Read by `properties`, with its companions.
            "properties" => return Ok(None),
            _ if COMPANIONS.contains(&keyword) || NOTES.contains(&keyword) => return Ok(None),
            _ if keyword.starts_with("x-") => return Ok(None),
            _ if UNSUPPORTED.contains(&keyword) => {
                return wrong("", format!("the keyword `{keyword}` is not supported"));
            }
            _ => {
                let words = "what is only a note begins with `x-`";
                return wrong("", format!("there is no keyword `{keyword}` here; {words}"));
            }
        }))
    }

    fn condition(&mut self, value: &Value, at: &str, beside: &Map<String, Value>) -> Result<Rule> {
        let condition = self.at(value, at.into())?;
        let outer = at.strip_suffix("/if").unwrap_or(at);
        let mut branch = |name: &str| {
            let schema = beside.get(name);
            schema
                .map(|schema| self.at(schema, child(outer, name)))
                .transpose()
        };
        Ok(Rule::If {
            condition,
            then: branch("then")?,
            otherwise: branch("else")?,
        })
    }

    /// `#` or `#/…`: nothing is fetched from elsewhere.
    fn reference(&mut self, text: &str, at: &str) -> Result<Id> {
        let Some(fragment) = text.strip_prefix('#') else {
            return wrong(
                at,
                format!("`{text}` is elsewhere; only `#…` can be referred to"),
            );
        };
        let pointer = percent_decoded(fragment);
        let target = pointer
            .as_deref()
            .and_then(|pointer| Some((pointer, self.root.pointer(pointer)?)));
        match target {
            Some((pointer, schema)) => self.at(schema, pointer.into()),
            None => wrong(at, format!("there is nothing at `{text}`")),
        }
    }

    fn items(&mut self, keywords: &Map<String, Value>, at: &str) -> Result<Rule> {
        let prefix = keywords.get("prefixItems");
        let rest = keywords.get("items");
        if rest.is_some_and(Value::is_array) {
            let here = child(at, "items");
            return wrong(&here, "a list of schemas is called `prefixItems` by now");
        }
        Ok(Rule::Items {
            prefix: match prefix {
                Some(prefix) => self.list(prefix, &child(at, "prefixItems"))?,
                None => Vec::new(),
            },
            rest: rest
                .map(|rest| self.at(rest, child(at, "items")))
                .transpose()?,
        })
    }

    fn properties(&mut self, keywords: &Map<String, Value>, at: &str) -> Result<Rule> {
        let mut properties = Properties::default();
        if let Some(named) = keywords.get("properties") {
            properties.named = self.by_name(named, &child(at, "properties"))?;
            properties.named.sort();
        }
        if let Some(patterns) = keywords.get("patternProperties") {
            let at = child(at, "patternProperties");
            for (pattern, id) in self.by_name(patterns, &at)? {
                let regex = regex(&pattern, &at)?;
                properties.patterns.push((regex, id));
            }
        }
        if let Some(additional) = keywords.get("additionalProperties") {
            let id = self.at(additional, child(at, "additionalProperties"))?;
            properties.additional = Some(id);
        }
        Ok(Rule::Properties(properties))
    }

    fn list(&mut self, value: &Value, at: &str) -> Result<Vec<Id>> {
        let schemas = array(value, at)?.iter().enumerate();
        schemas
            .map(|(index, schema)| self.at(schema, child(at, &index.to_string())))
            .collect()
    }

    fn by_name(&mut self, value: &Value, at: &str) -> Result<Vec<(String, Id)>> {
        let schemas = object(value, at)?.iter();
        schemas
            .map(|(name, schema)| Ok((name.clone(), self.at(schema, child(at, name))?)))
            .collect()
    }
}

fn wrong<T>(at: &str, reason: impl Into<String>) -> Result<T> {
    Err(SchemaError {
        at: at.into(),
        reason: reason.into(),
    })
}

fn child(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn kinds(value: &Value, at: &str) -> Result<Kinds> {
    let kind = |value: &Value| {
        let name = string(value, at)?;
        let unknown = || wrong(at, format!("there is no type `{name}`"));
        Kinds::parse(name).map_or_else(unknown, Ok)
    };
    match value {
        Value::Array(names) => names
            .iter()
            .try_fold(Kinds::NONE, |kinds, name| Ok(kinds.union(kind(name)?))),
        _ => kind(value),
    }
}

fn number(value: &Value, at: &str) -> Result<Number> {
    match value {
        Value::Number(number) => Ok(number.clone()),
        _ => wrong(at, "it is a number"),
    }
}

fn divisor(value: &Value, at: &str) -> Result<Number> {
    let divisor = number(value, at)?;
    if divisor.as_f64().is_some_and(|divisor| divisor > 0.0) {
        Ok(divisor)
    } else {
        wrong(at, "it is a number above 0")
    }
}

fn count(value: &Value, at: &str) -> Result<u64> {
    let float = value
        .as_f64()
        .filter(|count| count.fract() == 0.0 && *count >= 0.0);
    let count = value.as_u64().or_else(|| float.map(|count| count as u64));
    count.map_or_else(|| wrong(at, "it is a whole number from 0"), Ok)
}

fn string<'a>(value: &'a Value, at: &str) -> Result<&'a str> {
    value
        .as_str()
        .map_or_else(|| wrong(at, "it is a string"), Ok)
}

fn array<'a>(value: &'a Value, at: &str) -> Result<&'a Vec<Value>> {
    value
        .as_array()
        .map_or_else(|| wrong(at, "it is a list"), Ok)
}

fn object<'a>(value: &'a Value, at: &str) -> Result<&'a Map<String, Value>> {
    value
        .as_object()
        .map_or_else(|| wrong(at, "it is an object"), Ok)
}

fn strings(value: &Value, at: &str) -> Result<Vec<String>> {
    let strings = array(value, at)?.iter();
    strings
        .map(|value| Ok(string(value, at)?.to_owned()))
        .collect()
}

/// Searched for anywhere, as JSON Schema has it. Lookaround and references to groups, which ECMA-262
/// has, cannot run in linear time and are refused.
fn regex(pattern: &str, at: &str) -> Result<Regex> {
    let limits = Regex::config()
        .nfa_size_limit(Some(REGEX_BYTES))
        .hybrid_cache_capacity(REGEX_BYTES);
    let regex = Regex::builder()
        .configure(limits)
        .syntax(syntax::Config::new())
        .build(pattern);
    regex.or_else(|error| {
        let why = match error.syntax_error() {
            Some(syntax) => {
                let drawing = syntax.to_string();
                let words = drawing.lines().last().unwrap_or_default();
                words.trim_start_matches("error: ").to_owned()
            }
            None => format!("it takes more than {REGEX_BYTES} bytes when compiled"),
        };
        wrong(
            at,
            format!("`{pattern}` is no usable regular expression: {why}"),
        )
    })
}

/// A fragment of a URI may have any byte written as `%` and two digits.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_first_chunk::<2>()?;
        rest = behind;
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        bytes.push((digit(0)? << 4 | digit(1)?) as u8);
    }
    String::from_utf8(bytes).ok()
}
