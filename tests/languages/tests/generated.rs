//! The C bindings in `sdk/c/generated` are what wit-bindgen makes of `wit/plugin.wit` today.

use std::path::PathBuf;

use anyhow::{Context, Result};
use wit_bindgen_core::Files;
use wit_parser::Resolve;

const WIT: &str = include_str!("../../../wit/plugin.wit");
const UPDATE: &str = "TIDEGATE_UPDATE_GENERATED";

#[test]
fn c_bindings_are_current() -> Result<()> {
    let dir = tidegate_tests_languages::root().join("sdk/c/generated");
    let update = std::env::var_os(UPDATE).is_some();
    for world in ["filter", "router", "transform"] {
        for (name, expected) in bindings(world)? {
            let path: PathBuf = dir.join(name);
            if update {
                std::fs::write(&path, &expected)?;
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == expected,
                "{} is not what wit-bindgen makes of wit/plugin.wit; run this test with {UPDATE}=1",
                path.display()
            );
        }
    }
    Ok(())
}

/// Header and source of one world. All worlds call their types `tidegate_*`, so that one SDK serves them.
fn bindings(world: &str) -> Result<Vec<(String, String)>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", WIT)?;
    let id = resolve.select_world(&[package], Some(world))?;
    let options = wit_bindgen_c::Opts {
        // The build embeds the world's type into the module itself, so no object file is linked.
        no_object_file: true,
        rename_world: Some("tidegate".to_owned()),
        ..wit_bindgen_c::Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, id, &mut files)?;
    files
        .iter()
        .map(|(name, bytes)| {
            let (_, extension) = name.rsplit_once('.').context("a name with an extension")?;
            let text = String::from_utf8(bytes.to_vec())?;
            // The names are after the world's new name, which is that of all three.
            let text = text.replace("\"tidegate.h\"", &format!("\"{world}.h\""));
            Ok((format!("{world}.{extension}"), text))
        })
        .collect()
}
