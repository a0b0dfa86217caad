//! What wit-bindgen makes of `wit/plugin.wit`. Not for plugin authors: the rest of the SDK is.

#![allow(missing_docs, unreachable_pub)]

pub use filter::tidegate::plugin::{host, types};

pub mod filter {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "filter",
        pub_export_macro: true,
        export_macro_name: "export_filter",
        default_bindings_module: "tidegate_sdk::bindings::filter",
        generate_all,
    });
}

pub mod router {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "router",
        pub_export_macro: true,
        export_macro_name: "export_router",
        default_bindings_module: "tidegate_sdk::bindings::router",
        with: {
            "tidegate:plugin/types@0.1.0": crate::bindings::types,
            "tidegate:plugin/host@0.1.0": crate::bindings::host,
        },
    });
}

pub mod transform {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "transform",
        pub_export_macro: true,
        export_macro_name: "export_transform",
        default_bindings_module: "tidegate_sdk::bindings::transform",
        with: {
            "tidegate:plugin/types@0.1.0": crate::bindings::types,
            "tidegate:plugin/host@0.1.0": crate::bindings::host,
        },
    });
}
