//! `#[filter]`, `#[router]` and `#[transform]`.

use std::fmt;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{Attribute, Error, Expr, Ident, Item, ItemFn, ItemImpl, Path, Result, parse2};

use crate::{options::Options, parameters::Parameters, sdk};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum World {
    Filter,
    Router,
    Transform,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter => "filter",
            Self::Router => "router",
            Self::Transform => "transform",
        })
    }
}

impl World {
    /// The types in which the functions of this world say what becomes of records.
    pub(crate) fn answers(self) -> &'static [&'static str] {
        match self {
            Self::Filter => &["Verdicts"],
            Self::Router => &["Routes"],
            Self::Transform => &["Edit", "Edits"],
        }
    }

    pub(crate) fn batch_answer(self) -> &'static str {
        self.answers()[self.answers().len() - 1]
    }

    fn trait_name(self) -> Ident {
        let name = match self {
            Self::Filter => "Filter",
            Self::Router => "Router",
            Self::Transform => "Transform",
        };
        Ident::new(name, Span::call_site())
    }

    fn export(self) -> Ident {
        format_ident!("export_{}", self.to_string())
    }
}

/// What the attribute makes of an item; the item itself with the errors behind it if there are any,
/// so that the rest of the crate is not told that it is missing.
pub(crate) fn expand(world: World, options: TokenStream, item: TokenStream) -> TokenStream {
    match parts(world, options, item.clone()) {
        Ok(tokens) => tokens,
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#item #error)
        }
    }
}

fn parts(world: World, options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options: Options = parse2(options)?;
    let sdk = options.sdk.clone().unwrap_or_else(sdk::path);
    match parse2(item)? {
        Item::Fn(function) => from_function(world, &sdk, &options, &function),
        Item::Impl(implementation) => from_impl(world, &sdk, &options, &implementation),
        other => Err(Error::new_spanned(
            other,
            format!(
                "`#[{world}]` stands before a function, or before an `impl {} for …`",
                world.trait_name()
            ),
        )),
    }
}

fn from_impl(world: World, sdk: &Path, options: &Options, item: &ItemImpl) -> Result<TokenStream> {
    if !options.is_empty() {
        return Err(Error::new_spanned(
            &item.self_ty,
            "before an `impl` the attribute takes no options: `describe` says it all",
        ));
    }
    let implements = |path: &Path| {
        path.segments
            .last()
            .is_some_and(|segment| segment.ident == world.trait_name())
    };
    if !item
        .trait_
        .as_ref()
        .is_some_and(|(_, path, _)| implements(path))
    {
        return Err(Error::new_spanned(
            &item.self_ty,
            format!("this is no `impl {} for …`", world.trait_name()),
        ));
    }
    let (plugin, export) = (&item.self_ty, world.export());
    Ok(quote! {
        #item
        #sdk::#export!(#plugin);
    })
}

fn from_function(
    world: World,
    sdk: &Path,
    options: &Options,
    function: &ItemFn,
) -> Result<TokenStream> {
    check_options(world, options, function)?;
    let parameters = Parameters::of(world, &function.sig)?;
    let describe = describe(sdk, options, function, &parameters)?;
    let calls = calls(world, sdk, options, function, &parameters)?;

    let unit = syn::parse_quote!(());
    let config = parameters.config.as_ref().unwrap_or(&unit);
    let state = parameters.state.as_ref().unwrap_or(&unit);
    let (name, visibility) = (&function.sig.ident, &function.vis);
    let (trait_name, export) = (world.trait_name(), world.export());
    Ok(quote! {
        #function

        /// The plugin that the function of the same name makes.
        #[allow(non_camel_case_types, dead_code)]
        #visibility struct #name {
            config: #config,
            state: #state,
        }

        #[automatically_derived]
        impl #sdk::#trait_name for #name {
            type Config = #config;

            #describe

            fn configure(config: #config) -> ::core::result::Result<Self, ::std::string::String> {
                <#config as #sdk::Config>::check(&config)?;
                ::core::result::Result::Ok(Self {
                    config,
                    state: ::core::default::Default::default(),
                })
            }

            fn columns(&self) -> ::core::option::Option<#sdk::Columns> {
                <#config as #sdk::Config>::columns(&self.config)
            }

            #calls
        }

        #sdk::#export!(#name);
    })
}

fn check_options(world: World, options: &Options, function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if let Some(keyword) = &signature.asyncness {
        return Err(Error::new_spanned(keyword, "a plugin does not wait"));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &signature.generics,
            "a plugin's function is not generic; `'_` does for lifetimes",
        ));
    }
    match (world, &options.writes) {
        (World::Transform, None) => {
            return Err(Error::new_spanned(
                &signature.ident,
                "a transform says what it may replace, as in `#[transform(writes(value))]`",
            ));
        }
        (World::Filter | World::Router, Some((span, _))) => {
            return Err(Error::new(*span, format!("a {world} replaces nothing")));
        }
        _ => {}
    }
    match (world, &options.targets) {
        (World::Router, None) => Err(Error::new_spanned(
            &signature.ident,
            "a router says where it may send records, as in \
             `#[router(targets = [\"orders-eu\", \"audit-*\"])]`",
        )),
        (World::Filter | World::Transform, Some((span, _))) => Err(Error::new(
            *span,
            format!("a {world} sends records nowhere"),
        )),
        _ => Ok(()),
    }
}

fn describe(
    sdk: &Path,
    options: &Options,
    function: &ItemFn,
    parameters: &Parameters,
) -> Result<TokenStream> {
    if parameters.reads_unnamed() && options.columns.is_none() {
        return Err(Error::new_spanned(
            &function.sig.ident,
            "which columns does it read? Say so, as in `columns(value, headers)`; `columns()` is \
             none",
        ));
    }
    let literal = |literal: &Option<syn::LitStr>, variable: &str| match literal {
        Some(literal) => literal.to_token_stream(),
        None => quote!(::core::env!(#variable)),
    };
    let name = literal(&options.name, "CARGO_PKG_NAME");
    let version = literal(&options.version, "CARGO_PKG_VERSION");
    let summary = summary(&function.attrs);
    let named = options.columns.iter().flatten().map(Ident::to_string);
    let columns = flags(sdk, parameters.columns().map(str::to_owned).chain(named));
    let writes = options.writes.iter().flat_map(|(_, columns)| columns);
    let writes = flags(sdk, writes.map(Ident::to_string));
    let state = match &options.state {
        Some(state) if state == "partition" => quote!(Partition),
        _ => quote!(None),
    };
    let unit = syn::parse_quote!(());
    let config = parameters.config.as_ref().unwrap_or(&unit);
    Ok(quote! {
        fn describe() -> #sdk::Description {
            <#config as #sdk::Config>::keys().into_iter().fold(
                #sdk::Description::new(#name, #version)
                    .summary(#summary)
                    .columns(#columns)
                    .writes(#writes)
                    .state(#sdk::State::#state),
                #sdk::Description::config,
            )
        }
    })
}

fn flags(sdk: &Path, columns: impl Iterator<Item = String>) -> TokenStream {
    let flags = columns.map(|column| {
        let flag = Ident::new(&column.to_uppercase(), Span::call_site());
        quote!(.union(#sdk::Columns::#flag))
    });
    quote!(#sdk::Columns::empty()#(#flags)*)
}

/// The trait's methods that call the function.
fn calls(
    world: World,
    sdk: &Path,
    options: &Options,
    function: &ItemFn,
    parameters: &Parameters,
) -> Result<TokenStream> {
    let name = &function.sig.ident;
    let arguments = parameters.arguments();
    let targets = targets(options, parameters);
    if parameters.batch {
        let done = quote!(#sdk::glue::Done::done(#name(#(#arguments),*)));
        return Ok(batch_calls(world, sdk, &targets, &done));
    }
    if world == World::Transform && !parameters.answers {
        return Err(Error::new_spanned(
            &function.sig,
            "a transform of single records takes a `&mut Edit` for what it replaces",
        ));
    }
    Ok(match world {
        World::Filter => quote! {
            #[inline]
            fn filter(&mut self, record: &#sdk::Record<'_>) -> #sdk::Verdict {
                #sdk::IntoVerdict::into_verdict(#name(#(#arguments),*))
            }
        },
        World::Router => quote! {
            #targets

            #[inline]
            fn route(&mut self, record: &#sdk::Record<'_>, answer: &mut #sdk::Routes) {
                let destination = #name(#(#arguments),*);
                #sdk::IntoRoute::route(destination, record, answer);
            }
        },
        World::Transform => quote! {
            #[inline]
            fn transform(
                &mut self,
                record: &#sdk::Record<'_>,
                answer: &mut #sdk::Edit<'_>,
            ) -> #sdk::Verdict {
                #sdk::IntoVerdict::into_verdict(#name(#(#arguments),*))
            }
        },
    })
}

/// A function over batches leaves nothing for the methods over single records, which only
/// `*_batch` would have called.
fn batch_calls(world: World, sdk: &Path, targets: &TokenStream, done: &TokenStream) -> TokenStream {
    let result = quote!(::core::result::Result<(), ::std::string::String>);
    match world {
        World::Filter => quote! {
            fn filter(&mut self, _: &#sdk::Record<'_>) -> #sdk::Verdict {
                #sdk::Verdict::Keep
            }

            fn filter_batch(
                &mut self,
                batch: &#sdk::Batch,
                answer: &mut #sdk::Verdicts,
            ) -> #result {
                #done
            }
        },
        World::Router => quote! {
            #targets

            fn route(&mut self, _: &#sdk::Record<'_>, _: &mut #sdk::Routes) {}

            fn route_batch(&mut self, batch: &#sdk::Batch, answer: &mut #sdk::Routes) -> #result {
                #done
            }
        },
        World::Transform => quote! {
            fn transform(&mut self, _: &#sdk::Record<'_>, _: &mut #sdk::Edit<'_>) -> #sdk::Verdict {
                #sdk::Verdict::Keep
            }

            fn transform_batch(
                &mut self,
                batch: &#sdk::Batch,
                answer: &mut #sdk::Edits,
            ) -> #result {
                #done
            }
        },
    }
}

/// A list of names as it stands, or a function from the configuration to one.
fn targets(options: &Options, parameters: &Parameters) -> TokenStream {
    let names = match &options.targets {
        None => return TokenStream::new(),
        Some((_, names @ Expr::Array(_))) => quote!(#names),
        Some((_, function)) if parameters.config.is_some() => quote!((#function)(&self.config)),
        Some((_, function)) => quote!((#function)()),
    };
    quote! {
        fn targets(&self) -> ::std::vec::Vec<::std::string::String> {
            ::core::iter::IntoIterator::into_iter(#names)
                .map(::core::convert::Into::into)
                .collect()
        }
    }
}

/// The first paragraph of the doc comment, on one line.
pub(crate) fn summary(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        match &pair.value {
            Expr::Lit(syn::ExprLit {
                lit: syn::Lit::Str(text),
                ..
            }) if pair.path.is_ident("doc") => Some(text.value()),
            _ => None,
        }
    });
    let text: Vec<String> = lines
        .map(|line| line.trim().to_owned())
        .skip_while(String::is_empty)
        .take_while(|line| !line.is_empty())
        .collect();
    text.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(world: World, options: &str, item: &str, words: &str) {
        let tokens = |text: &str| text.parse::<TokenStream>().unwrap();
        let error = parts(world, tokens(options), tokens(item)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }

    #[track_caller]
    fn taken(world: World, options: &str, item: &str) -> String {
        let tokens = |text: &str| text.parse::<TokenStream>().unwrap();
        let tokens = parts(world, tokens(options), tokens(item)).unwrap();
        syn::parse2::<syn::File>(tokens.clone()).unwrap();
        tokens.to_string()
    }

    #[test]
    fn a_parameter_names_its_column() {
        let made = taken(
            World::Filter,
            "",
            "/// Keeps keys.\n///\n/// More.\nfn f(key: Key<'_>, headers: tidegate::Headers) -> bool { true }",
        );
        assert!(made.contains("\"Keeps keys.\""), "{made}");
        assert!(made.contains("Columns :: KEY") && made.contains("Columns :: HEADERS"));
        assert!(!made.contains("Columns :: VALUE"));
        assert!(made.contains("export_filter ! (f)"));
    }

    #[test]
    fn every_world_takes_records_and_batches() {
        for (world, options, record, batch) in [
            (World::Filter, "", "", ", v: &mut Verdicts"),
            (World::Router, ", targets = [\"a\"]", "", ", r: &mut Routes"),
            (
                World::Transform,
                ", writes(key)",
                ", e: &mut Edit<'_>",
                ", e: &mut Edits",
            ),
        ] {
            let options = format!("columns(value){options}");
            taken(
                world,
                &options,
                &format!("fn f(r: &Record<'_>, c: &Limits{record}) {{}}"),
            );
            taken(
                world,
                &options,
                &format!("fn f(b: &Batch, s: &mut Seen{batch}) {{}}"),
            );
        }
        let made = taken(
            World::Filter,
            "crate = ::other",
            "impl Filter for Thing { }",
        );
        assert!(
            made.contains(":: other :: export_filter ! (Thing)"),
            "{made}"
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let filter = |options, item, words| refused(World::Filter, options, item, words);
        filter("", "fn f(value: u32) {}", "a parameter is a column");
        filter(
            "",
            "fn f(c: &Config) {}",
            "takes a `&Record`, a `&Batch`, or columns",
        );
        filter("", "fn f(r: &Record<'_>) {}", "which columns does it read?");
        filter(
            "",
            "fn f(r: Value<'_>, e: &mut Edit) {}",
            "a filter has no `Edit`",
        );
        filter(
            "columns(value)",
            "fn f(b: &Batch) {}",
            "in a `&mut Verdicts`",
        );
        filter(
            "columns(values)",
            "fn f(b: &Batch) {}",
            "no column `values`; there are key, value",
        );
        filter(
            "name = \"a\", name = \"b\"",
            "fn f(v: Value<'_>) {}",
            "given twice",
        );
        filter(
            "colums(value)",
            "fn f(v: Value<'_>) {}",
            "no option `colums`",
        );
        filter(
            "state = shared",
            "fn f(v: Value<'_>) {}",
            "`none` or `partition`",
        );
        filter(
            "writes(value)",
            "fn f(v: Value<'_>) {}",
            "a filter replaces nothing",
        );
        filter("", "async fn f(v: Value<'_>) {}", "does not wait");
        filter(
            "",
            "struct S;",
            "stands before a function, or before an `impl Filter for",
        );
        filter("", "impl Router for S {}", "no `impl Filter for");
        filter(
            "name = \"a\"",
            "impl Filter for S {}",
            "`describe` says it all",
        );
        refused(World::Router, "", "fn f(k: Key<'_>) {}", "may send records");
        refused(
            World::Transform,
            "",
            "fn f(v: Value<'_>) {}",
            "what it may replace",
        );
        refused(
            World::Transform,
            "writes(value)",
            "fn f(v: Value<'_>) {}",
            "takes a `&mut Edit`",
        );
    }
}
