//! The attributes of `tidegate-sdk`, which re-exports and documents them. Use them from there.

mod config;
mod options;
mod parameters;
mod plugin;
mod sdk;

use proc_macro::TokenStream;

use crate::plugin::World;

/// Makes a filter of a function, or exports an `impl Filter`. See `tidegate_sdk::filter`.
#[proc_macro_attribute]
pub fn filter(options: TokenStream, item: TokenStream) -> TokenStream {
    plugin::expand(World::Filter, options.into(), item.into()).into()
}

/// Makes a router of a function, or exports an `impl Router`. See `tidegate_sdk::router`.
#[proc_macro_attribute]
pub fn router(options: TokenStream, item: TokenStream) -> TokenStream {
    plugin::expand(World::Router, options.into(), item.into()).into()
}

/// Makes a transform of a function, or exports an `impl Transform`. See
/// `tidegate_sdk::transform`.
#[proc_macro_attribute]
pub fn transform(options: TokenStream, item: TokenStream) -> TokenStream {
    plugin::expand(World::Transform, options.into(), item.into()).into()
}

/// Describes and reads a configuration. See `tidegate_sdk::Config`.
#[proc_macro_derive(Config, attributes(config))]
pub fn config(item: TokenStream) -> TokenStream {
    config::expand(item.into()).into()
}
