//! Writes what our own encoders make to `corpus/`, in place of what they made before. What stands there under another
//! name (a crash that was found, a frame of a real client) is kept.

use std::fs;
use std::path::Path;

use tidegate_tests_fuzz::{ALL, Seed, parse, unparse};

fn main() {
    for target in ALL {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target.name)
            .with_extension("hex");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let kept = parse(&text)
            .expect("the corpus can be read")
            .into_iter()
            .filter(|seed| !seed.is_made());
        let all: Vec<Seed> = (target.seeds)().into_iter().chain(kept).collect();
        fs::write(&path, unparse(&all)).expect("the corpus can be written");
        println!("{}: {} seeds", target.name, all.len());
    }
}
