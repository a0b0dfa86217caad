//! `#[derive(Config)]`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{
    Data, DeriveInput, Error, Expr, Field, Fields, GenericArgument, Ident, Lit, LitStr, Path,
    PathArguments, Result, Type, parse2,
};

use crate::{plugin::summary, sdk};

pub(crate) fn expand(item: TokenStream) -> TokenStream {
    parse2(item)
        .and_then(|input| derive(&input))
        .unwrap_or_else(Error::into_compile_error)
}

/// `#[config(check = …, columns = …, crate = …)]` before the struct.
struct Container {
    sdk: Path,
    check: Option<Expr>,
    columns: Option<Expr>,
}

/// `#[config(name = …, default = …, secret)]` before a field.
#[derive(Default)]
struct Key {
    name: Option<LitStr>,
    default: Option<String>,
    secret: bool,
}

fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => fields.named.iter().collect::<Vec<_>>(),
            Fields::Unit => Vec::new(),
            Fields::Unnamed(fields) => {
                return Err(Error::new_spanned(fields, "each key needs a name"));
            }
        },
        _ => {
            return Err(Error::new_spanned(
                &input.ident,
                "a configuration is a struct with a field for each key",
            ));
        }
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a configuration is not generic",
        ));
    }
    let Container {
        sdk,
        check,
        columns,
    } = container(input)?;
    let name = &input.ident;
    let keys = fields
        .iter()
        .map(|field| describe(&sdk, field))
        .collect::<Result<Vec<_>>>()?;
    let read = read(&sdk, name, &fields)?;
    let check = check.map(|check| {
        quote! {
            fn check(&self) -> ::core::result::Result<(), ::std::string::String> {
                (#check)(self)
            }
        }
    });
    let columns = columns.map(|columns| {
        quote! {
            fn columns(&self) -> ::core::option::Option<#sdk::Columns> {
                ::core::option::Option::Some((#columns)(self))
            }
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl #sdk::Config for #name {
            fn keys() -> ::std::vec::Vec<#sdk::ConfigKey> {
                ::std::vec![#(#keys),*]
            }

            #check

            #columns
        }

        #read
    })
}

fn container(input: &DeriveInput) -> Result<Container> {
    let mut container = Container {
        sdk: sdk::path(),
        check: None,
        columns: None,
    };
    for attribute in input.attrs.iter().filter(|a| a.path().is_ident("config")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("check") {
                container.check = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("columns") {
                container.columns = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("crate") {
                container.sdk = meta.value()?.parse()?;
            } else {
                return Err(meta.error("there are `check`, `columns` and `crate`"));
            }
            Ok(())
        })?;
    }
    Ok(container)
}

fn key(field: &Field) -> Result<Key> {
    let mut key = Key::default();
    for attribute in field.attrs.iter().filter(|a| a.path().is_ident("config")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                key.name = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("default") {
                key.default = Some(literal(&meta.value()?.parse()?)?);
            } else if meta.path.is_ident("secret") {
                key.secret = true;
            } else {
                return Err(meta.error("there are `name`, `default` and `secret`"));
            }
            Ok(())
        })?;
    }
    Ok(key)
}

/// How a binding would write it.
fn literal(default: &Expr) -> Result<String> {
    match default {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Ok(text.value()),
            Lit::Int(number) => Ok(number.base10_digits().to_owned()),
            Lit::Float(number) => Ok(number.base10_digits().to_owned()),
            Lit::Bool(on) => Ok(on.value.to_string()),
            other => Err(Error::new_spanned(other, "a default is text or a number")),
        },
        Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Neg(_)) => {
            Ok(format!("-{}", literal(&unary.expr)?))
        }
        other => Err(Error::new_spanned(
            other,
            "a default is written out, as a binding would set it",
        )),
    }
}

/// The `ConfigKey` of one field.
fn describe(sdk: &Path, field: &Field) -> Result<TokenStream> {
    let key = key(field)?;
    let name = key_name(field, &key);
    let doc = summary(&field.attrs);
    if doc.is_empty() {
        return Err(Error::new_spanned(
            field,
            "say in a doc comment what the key means: whoever binds the plugin is shown it",
        ));
    }
    let optional = inside_option(&field.ty);
    let kind = kind(optional.unwrap_or(&field.ty));
    let default = key.default.as_ref().map(|value| quote!(.default(#value)));
    let required = (key.default.is_none() && optional.is_none()).then(|| quote!(.required()));
    let secret = key.secret.then(|| quote!(.secret()));
    Ok(quote!(#sdk::ConfigKey::#kind(#name).doc(#doc)#default #required #secret))
}

fn key_name(field: &Field, key: &Key) -> String {
    match (&key.name, &field.ident) {
        (Some(name), _) => name.value(),
        (None, Some(ident)) => ident.to_string().trim_start_matches("r#").replace('_', "."),
        (None, None) => String::new(),
    }
}

fn kind(ty: &Type) -> Ident {
    let name = match ty {
        Type::Path(path) => path.path.segments.last().map(|s| s.ident.to_string()),
        _ => None,
    };
    let kind = match name.as_deref() {
        Some("u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize") => {
            "integer"
        }
        Some("f32" | "f64") => "float",
        Some("bool") => "boolean",
        _ => "text",
    };
    Ident::new(kind, Span::call_site())
}

fn inside_option(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) if last.ident == "Option" => {
            match arguments.args.first()? {
                GenericArgument::Type(inner) => Some(inner),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Reading is serde's, by way of a twin that carries the keys' names.
fn read(sdk: &Path, name: &Ident, fields: &[&Field]) -> Result<TokenStream> {
    let idents: Vec<_> = fields
        .iter()
        .filter_map(|field| field.ident.as_ref())
        .collect();
    let types = fields.iter().map(|field| &field.ty);
    let names = fields
        .iter()
        .map(|field| Ok(key_name(field, &key(field)?)))
        .collect::<Result<Vec<_>>>()?;
    let serde = quote!(#sdk::serde).to_string().replace(' ', "");
    Ok(quote! {
        const _: () = {
            #[derive(#sdk::serde::Deserialize)]
            #[serde(crate = #serde)]
            struct Keys {
                #(#[serde(rename = #names)] #idents: #types,)*
            }

            #[automatically_derived]
            impl<'de> #sdk::serde::Deserialize<'de> for #name {
                fn deserialize<D: #sdk::serde::Deserializer<'de>>(
                    deserializer: D,
                ) -> ::core::result::Result<Self, D::Error> {
                    let keys = <Keys as #sdk::serde::Deserialize>::deserialize(deserializer)?;
                    ::core::result::Result::Ok(Self { #(#idents: keys.#idents,)* })
                }
            }
        };
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(item: &str) -> Result<String> {
        let input = syn::parse_str(item).unwrap();
        derive(&input).map(|tokens| tokens.to_string())
    }

    #[track_caller]
    fn refused(item: &str, words: &str) {
        let error = derived(item).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn a_field_is_a_key() {
        let made = derived(
            "struct C { /** The most. */ #[config(default = -7)] max_bytes: i64,
             /** A sign. */ #[config(secret)] sign: Option<String> }",
        )
        .unwrap();
        let max = r#"ConfigKey :: integer ("max.bytes") . doc ("The most.") . default ("-7")"#;
        assert!(made.contains(max), "{made}");
        let sign = r#"ConfigKey :: text ("sign") . doc ("A sign.") . secret ()"#;
        assert!(made.contains(sign), "{made}");
        assert!(!made.contains("required"), "{made}");
        assert!(
            derived("struct C { /** It. */ it: bool }")
                .unwrap()
                .contains("required")
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        refused(
            "struct C { a: u8 }",
            "say in a doc comment what the key means",
        );
        refused("enum C { A }", "a struct with a field for each key");
        refused("struct C(u8);", "each key needs a name");
        refused("struct C<T> { /** A. */ a: T }", "not generic");
        refused(
            "struct C { /** A. */ #[config(defalt = 1)] a: u8 }",
            "`name`, `default`",
        );
        refused(
            "struct C { /** A. */ #[config(default = one())] a: u8 }",
            "written out",
        );
    }
}
