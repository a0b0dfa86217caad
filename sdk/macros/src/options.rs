//! What stands in the brackets of an attribute.

use proc_macro2::Span;
use syn::{
    Error, Expr, Ident, LitStr, Path, Result, Token, parenthesized,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

/// The columns of a record, as the WIT has them.
const COLUMNS: [&str; 4] = ["key", "value", "headers", "timestamp"];

/// `columns(value), writes(value), name = "…", version = "…", state = partition, targets = […],
/// crate = path`, each at most once.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) columns: Option<Vec<Ident>>,
    pub(crate) writes: Option<(Span, Vec<Ident>)>,
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<LitStr>,
    pub(crate) state: Option<Ident>,
    pub(crate) targets: Option<(Span, Expr)>,
    pub(crate) sdk: Option<Path>,
}

impl Options {
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            columns,
            writes,
            name,
            version,
            state,
            targets,
            sdk: _,
        } = self;
        columns.is_none()
            && writes.is_none()
            && name.is_none()
            && version.is_none()
            && state.is_none()
            && targets.is_none()
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            options.one(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn one(&mut self, input: ParseStream<'_>) -> Result<()> {
        if input.peek(Token![crate]) {
            input.parse::<Token![crate]>()?;
            input.parse::<Token![=]>()?;
            self.sdk = Some(input.parse()?);
            return Ok(());
        }
        let option: Ident = input.parse()?;
        let span = option.span();
        let again = match option.to_string().as_str() {
            "columns" => self.columns.replace(columns(input)?).is_some(),
            "writes" => self.writes.replace((span, columns(input)?)).is_some(),
            "name" => self.name.replace(assigned(input)?).is_some(),
            "version" => self.version.replace(assigned(input)?).is_some(),
            "state" => self.state.replace(state(input)?).is_some(),
            "targets" => self.targets.replace((span, assigned(input)?)).is_some(),
            other => {
                return Err(Error::new(
                    span,
                    format!(
                        "there is no option `{other}`; there are columns(…), writes(…), name, \
                         version, state, targets and crate"
                    ),
                ));
            }
        };
        if again {
            return Err(Error::new(span, format!("`{option}` is given twice")));
        }
        Ok(())
    }
}

fn assigned<T: Parse>(input: ParseStream<'_>) -> Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn columns(input: ParseStream<'_>) -> Result<Vec<Ident>> {
    let list;
    parenthesized!(list in input);
    let names = Punctuated::<Ident, Token![,]>::parse_terminated(&list)?;
    for name in &names {
        if !COLUMNS.contains(&name.to_string().as_str()) {
            return Err(Error::new(
                name.span(),
                format!(
                    "there is no column `{name}`; there are {}",
                    COLUMNS.join(", ")
                ),
            ));
        }
    }
    Ok(names.into_iter().collect())
}

fn state(input: ParseStream<'_>) -> Result<Ident> {
    let state: Ident = assigned(input)?;
    if state == "none" || state == "partition" {
        Ok(state)
    } else {
        Err(Error::new(state.span(), "`state` is `none` or `partition`"))
    }
}
