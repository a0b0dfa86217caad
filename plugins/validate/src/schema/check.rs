//! Holds a value to a schema.

use std::{cmp::Ordering, fmt};

use serde_json::{Map, Value};

use super::{Id, Kinds, Properties, Rule, Schema};
use crate::number::{canonical, compare, equal, is_multiple};

/// How deep rules may call each other: a value nests at most 128 levels, and a schema that refers to
/// itself without going deeper into the value would never end.
const MAX_DEPTH: usize = 600;
/// How much of a value is shown in a reason, in characters.
const SHOWN: usize = 40;

/// Where a value does not fit, and why.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// The way there, innermost first.
    path: Vec<String>,
    reason: String,
}

impl Misfit {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            path: Vec::new(),
            reason: reason.into(),
        }
    }

    fn below(mut self, name: impl fmt::Display) -> Self {
        let name = name.to_string();
        self.path.push(name.replace('~', "~0").replace('/', "~1"));
        self
    }
}

/// `/a/0: reason`, or only the reason for the value as a whole.
impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in self.path.iter().rev() {
            write!(f, "/{name}")?;
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.reason)
    }
}

impl Schema {
    /// # Errors
    /// The first rule that does not hold.
    pub(crate) fn check(&self, value: &Value) -> Result<(), Box<Misfit>> {
        self.part(0, value, 0)
    }

    fn part(&self, id: Id, value: &Value, depth: usize) -> Result<(), Box<Misfit>> {
        if depth == MAX_DEPTH {
            return misfit("the schema refers to itself without an end");
        }
        // Ids are made by the compiler, which fills each in.
        let rules = self.parts.get(id).map(Vec::as_slice).unwrap_or_default();
        rules
            .iter()
            .try_for_each(|rule| self.rule(rule, value, depth + 1))
    }

    fn fits(&self, id: Id, value: &Value, depth: usize) -> bool {
        self.part(id, value, depth).is_ok()
    }

    fn rule(&self, rule: &Rule, value: &Value, depth: usize) -> Result<(), Box<Misfit>> {
        match rule {
            Rule::Never => misfit("nothing is allowed here"),
            Rule::Kinds(kinds) if kinds.has(value) => Ok(()),
            Rule::Kinds(kinds) => misfit(format!("it is {}, not {kinds}", Kinds::of(value))),
            Rule::Enum(values) => is_one_of(values, value),
            Rule::AllOf(ids) => ids.iter().try_for_each(|id| self.part(*id, value, depth)),
            Rule::AnyOf(ids) if ids.iter().any(|id| self.fits(*id, value, depth)) => Ok(()),
            Rule::AnyOf(_) => misfit("it fits none of the schemas of `anyOf`"),
            Rule::OneOf(ids) => {
                let fitting = ids.iter().filter(|id| self.fits(**id, value, depth));
                match fitting.take(2).count() {
                    1 => Ok(()),
                    0 => misfit("it fits none of the schemas of `oneOf`"),
                    _ => misfit("it fits more than one of the schemas of `oneOf`"),
                }
            }
            Rule::Not(id) if self.fits(*id, value, depth) => misfit("it fits the schema of `not`"),
            Rule::Not(_) => Ok(()),
            Rule::If {
                condition,
                then,
                otherwise,
            } => {
                let fits = self.fits(*condition, value, depth);
                let branch = if fits { then } else { otherwise };
                branch.map_or(Ok(()), |id| self.part(id, value, depth))
            }
            Rule::Ref(id) => self.part(*id, value, depth),
            _ => match value {
                Value::Number(_) => of_number(rule, value),
                Value::String(text) => of_string(rule, text),
                Value::Array(items) => self.of_array(rule, items, depth),
                Value::Object(members) => self.of_object(rule, members, depth),
                Value::Null | Value::Bool(_) => Ok(()),
            },
        }
    }

    fn of_array(&self, rule: &Rule, items: &[Value], depth: usize) -> Result<(), Box<Misfit>> {
        let count = items.len() as u64;
        match rule {
            Rule::MinItems(min) if count < *min => {
                misfit(format!("it has {count} items, fewer than {min}"))
            }
            Rule::MaxItems(max) if count > *max => {
                misfit(format!("it has {count} items, more than {max}"))
            }
            Rule::UniqueItems => unique(items),
            Rule::Contains { id, min, max } => {
                let fitting = items.iter().filter(|item| self.fits(*id, item, depth));
                let fitting = fitting.count() as u64;
                if fitting < *min || max.is_some_and(|max| fitting > max) {
                    return misfit(format!(
                        "{fitting} of its items fit the schema of `contains`"
                    ));
                }
                Ok(())
            }
            Rule::Items { prefix, rest } => {
                let ids = prefix
                    .iter()
                    .copied()
                    .map(Some)
                    .chain(std::iter::repeat(*rest));
                for ((index, item), id) in items.iter().enumerate().zip(ids) {
                    let Some(id) = id else { break };
                    self.part(id, item, depth)
                        .map_err(|misfit| Box::new(misfit.below(index)))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn of_object(
        &self,
        rule: &Rule,
        members: &Map<String, Value>,
        depth: usize,
    ) -> Result<(), Box<Misfit>> {
        let count = members.len() as u64;
        match rule {
            Rule::Required(names) => required(names, members),
            Rule::DependentRequired(all) => {
                let mut present = all.iter().filter(|(name, _)| members.contains_key(name));
                present.try_for_each(|(_, names)| required(names, members))
            }
            Rule::DependentSchemas(all) => {
                let whole = Value::Object(members.clone());
                let mut present = all.iter().filter(|(name, _)| members.contains_key(name));
                present.try_for_each(|(_, id)| self.part(*id, &whole, depth))
            }
            Rule::MinProperties(min) if count < *min => {
                misfit(format!("it has {count} members, fewer than {min}"))
            }
            Rule::MaxProperties(max) if count > *max => {
                misfit(format!("it has {count} members, more than {max}"))
            }
            Rule::PropertyNames(id) => members.keys().try_for_each(|name| {
                let text = Value::String(name.clone());
                self.part(*id, &text, depth).map_err(|why| {
                    let reason = format!("its name does not fit: {why}");
                    Box::new(Misfit::new(reason).below(name))
                })
            }),
            Rule::Properties(properties) => members.iter().try_for_each(|(name, value)| {
                self.member(properties, name, value, depth)
                    .map_err(|misfit| Box::new(misfit.below(name)))
            }),
            _ => Ok(()),
        }
    }

    fn member(
        &self,
        properties: &Properties,
        name: &str,
        value: &Value,
        depth: usize,
    ) -> Result<(), Box<Misfit>> {
        let Properties {
            named,
            patterns,
            additional,
        } = properties;
        let mut known = false;
        if let Ok(at) = named.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
            known = true;
            self.part(named[at].1, value, depth)?;
        }
        for (_, id) in patterns.iter().filter(|(regex, _)| regex.is_match(name)) {
            known = true;
            self.part(*id, value, depth)?;
        }
        match additional {
            Some(id) if !known => self.part(*id, value, depth),
            _ => Ok(()),
        }
    }
}

fn misfit(reason: impl Into<String>) -> Result<(), Box<Misfit>> {
    Err(Box::new(Misfit::new(reason)))
}

fn is_one_of(values: &[Value], value: &Value) -> Result<(), Box<Misfit>> {
    if values.iter().any(|known| equal(known, value)) {
        return Ok(());
    }
    match values {
        [only] => misfit(format!("{} is not {}", shown(value), shown(only))),
        _ => misfit(format!("{} is none of the values of `enum`", shown(value))),
    }
}

fn required(names: &[String], members: &Map<String, Value>) -> Result<(), Box<Misfit>> {
    match names.iter().find(|name| !members.contains_key(*name)) {
        Some(missing) => misfit(format!("`{missing}` is missing")),
        None => Ok(()),
    }
}

fn of_number(rule: &Rule, value: &Value) -> Result<(), Box<Misfit>> {
    let Value::Number(number) = value else {
        return Ok(());
    };
    let is = |bound, order| compare(number, bound) == order;
    match rule {
        Rule::Minimum(min) if is(min, Ordering::Less) => misfit(format!("{number} is below {min}")),
        Rule::ExclusiveMinimum(min) if !is(min, Ordering::Greater) => {
            misfit(format!("{number} is not above {min}"))
        }
        Rule::Maximum(max) if is(max, Ordering::Greater) => {
            misfit(format!("{number} is above {max}"))
        }
        Rule::ExclusiveMaximum(max) if !is(max, Ordering::Less) => {
            misfit(format!("{number} is not below {max}"))
        }
        Rule::MultipleOf(of) if !is_multiple(number, of) => {
            misfit(format!("{number} is not a multiple of {of}"))
        }
        _ => Ok(()),
    }
}

fn of_string(rule: &Rule, text: &str) -> Result<(), Box<Misfit>> {
    let length = || text.chars().count() as u64;
    match rule {
        Rule::MinLength(min) if length() < *min => {
            misfit(format!("it has {} characters, fewer than {min}", length()))
        }
        Rule::MaxLength(max) if length() > *max => {
            misfit(format!("it has {} characters, more than {max}", length()))
        }
        Rule::Pattern(pattern, regex) if !regex.is_match(text) => misfit(format!(
            "{} does not match `{pattern}`",
            shown(&text.into())
        )),
        _ => Ok(()),
    }
}

/// By sorting what they are written as: comparing each with each would let one long list take as
/// long as it likes.
fn unique(items: &[Value]) -> Result<(), Box<Misfit>> {
    let mut texts: Vec<String> = items.iter().map(canonical).collect();
    texts.sort_unstable();
    if texts.windows(2).any(|pair| pair[0] == pair[1]) {
        return misfit("two of its items are equal");
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
