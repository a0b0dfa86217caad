//! What a plugin's function takes, told by the types of its parameters.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, FnArg, Ident, Result, Signature, Type, spanned::Spanned};

use crate::plugin::World;

/// One parameter of the function.
pub(crate) enum Parameter {
    /// `Key`, `Value`, `Headers` or `Timestamp`: a column of the record at hand.
    Column(&'static str),
    /// `&Record`.
    Record,
    /// `&Batch`: the function is called once for the whole batch.
    Batch,
    /// `&mut Verdicts`, `&mut Routes`, `&mut Edit` or `&mut Edits`: where the answer goes.
    Answer,
    /// Any other `&T`.
    Config(Type),
    /// Any other `&mut T`.
    State(Type),
}

pub(crate) struct Parameters {
    pub(crate) all: Vec<Parameter>,
    pub(crate) config: Option<Type>,
    pub(crate) state: Option<Type>,
    pub(crate) batch: bool,
    pub(crate) answers: bool,
}

impl Parameters {
    pub(crate) fn of(world: World, signature: &Signature) -> Result<Self> {
        let mut parameters = Self {
            all: Vec::new(),
            config: None,
            state: None,
            batch: false,
            answers: false,
        };
        for input in &signature.inputs {
            let FnArg::Typed(input) = input else {
                return Err(Error::new(
                    input.span(),
                    "a plugin is a function, not a method",
                ));
            };
            parameters.add(world, &input.ty)?;
        }
        parameters.check(world, signature)?;
        Ok(parameters)
    }

    fn add(&mut self, world: World, ty: &Type) -> Result<()> {
        let parameter = parameter(world, ty)?;
        let again = match &parameter {
            Parameter::Config(ty) => self.config.replace(ty.clone()).is_some(),
            Parameter::State(ty) => self.state.replace(ty.clone()).is_some(),
            Parameter::Batch => std::mem::replace(&mut self.batch, true),
            Parameter::Answer => std::mem::replace(&mut self.answers, true),
            Parameter::Column(_) | Parameter::Record => false,
        };
        if again {
            return Err(Error::new(
                ty.span(),
                "there is a parameter like it already",
            ));
        }
        self.all.push(parameter);
        Ok(())
    }

    fn check(&self, world: World, signature: &Signature) -> Result<()> {
        let of_a_record =
            |parameter: &Parameter| matches!(parameter, Parameter::Column(_) | Parameter::Record);
        let wrong = |words: String| Err(Error::new(signature.span(), words));
        if self.batch && self.all.iter().any(of_a_record) {
            return wrong("a function over a `&Batch` takes no single record".into());
        }
        if self.batch && !self.answers {
            let answer = world.batch_answer();
            return wrong(format!(
                "a function over a `&Batch` says what becomes of it in a `&mut {answer}`"
            ));
        }
        if !self.batch && !self.all.iter().any(of_a_record) {
            return wrong(
                "a plugin takes a `&Record`, a `&Batch`, or columns: `Key`, `Value`, `Headers` or \
                 `Timestamp`"
                    .into(),
            );
        }
        Ok(())
    }

    /// The columns that the parameters name.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.all.iter().filter_map(|parameter| match parameter {
            Parameter::Column(name) => Some(*name),
            _ => None,
        })
    }

    /// Whether a parameter may read columns that no type names.
    pub(crate) fn reads_unnamed(&self) -> bool {
        self.batch
            || self
                .all
                .iter()
                .any(|parameter| matches!(parameter, Parameter::Record))
    }

    /// The arguments of the call, from `record` or `batch`, `answer`, and `self`.
    pub(crate) fn arguments(&self) -> Vec<TokenStream> {
        self.all
            .iter()
            .map(|parameter| match parameter {
                Parameter::Column("key") => quote!(record.key()),
                Parameter::Column("value") => quote!(record.value()),
                Parameter::Column("headers") => quote!(record.headers()),
                Parameter::Column(_) => quote!(record.timestamp_ms().unwrap_or_default()),
                Parameter::Record => quote!(record),
                Parameter::Batch => quote!(batch),
                Parameter::Answer => quote!(answer),
                Parameter::Config(_) => quote!(&self.config),
                Parameter::State(_) => quote!(&mut self.state),
            })
            .collect()
    }
}

fn parameter(world: World, ty: &Type) -> Result<Parameter> {
    let name = |ty: &Type| last_segment(ty).map(|name| name.to_string());
    match ty {
        Type::Reference(reference) if reference.mutability.is_some() => {
            let inner = &*reference.elem;
            match name(inner).as_deref() {
                Some(answer @ ("Verdicts" | "Routes" | "Edit" | "Edits")) => {
                    if world.answers().contains(&answer) {
                        Ok(Parameter::Answer)
                    } else {
                        Err(Error::new(
                            ty.span(),
                            format!("a {world} has no `{answer}`"),
                        ))
                    }
                }
                _ => Ok(Parameter::State(inner.clone())),
            }
        }
        Type::Reference(reference) => Ok(match name(&reference.elem).as_deref() {
            Some("Record") => Parameter::Record,
            Some("Batch") => Parameter::Batch,
            _ => Parameter::Config((*reference.elem).clone()),
        }),
        _ => match name(ty).as_deref() {
            Some("Key") => Ok(Parameter::Column("key")),
            Some("Value") => Ok(Parameter::Column("value")),
            Some("Headers") => Ok(Parameter::Column("headers")),
            Some("Timestamp") => Ok(Parameter::Column("timestamp")),
            _ => Err(Error::new(
                ty.span(),
                "a parameter is a column (`Key`, `Value`, `Headers`, `Timestamp`), a `&Record` or \
                 `&Batch`, the configuration (`&T`), or state (`&mut T`)",
            )),
        },
    }
}

fn last_segment(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(path) => Some(&path.path.segments.last()?.ident),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}
