//! Plugins compiled by the real program, as the broker's child: bounds that hold, and code that survives restarts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate_plugin::{Compiler, Engine, EngineOptions, LoadError};

mod common;

use common::bomb;
use common::guests::{Guest, KEEP_ALL};

fn options() -> EngineOptions {
    EngineOptions {
        max_instances: 16,
        compiler: Compiler::Child(PathBuf::from(env!("CARGO_BIN_EXE_tidegate"))),
        ..EngineOptions::default()
    }
}

fn caching(directory: &Path) -> EngineOptions {
    EngineOptions {
        cache_dir: Some(directory.to_owned()),
        ..options()
    }
}

/// As many different plugins as wanted: a custom section makes another digest.
fn plugin(number: u8) -> Vec<u8> {
    let mut wasm = Guest::filter(KEEP_ALL).build();
    wasm.extend([0, 3, 1, b'n', number]);
    wasm
}

fn artifacts(root: &Path) -> Vec<PathBuf> {
    let engine = fs::read_dir(root).unwrap().next().unwrap().unwrap().path();
    fs::read_dir(engine)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

#[test]
fn a_child_compiles_and_refuses() {
    let engine = Engine::new(options()).unwrap();
    let plugin = engine.load(&plugin(0)).unwrap();
    assert_eq!(plugin.description().name, "guest");
    assert_eq!(engine.compilations(), 1);
    let mut cut = Guest::filter(KEEP_ALL).build();
    cut.truncate(cut.len() / 2);
    let error = engine.load(&cut).unwrap_err();
    assert!(
        matches!(&error, LoadError::Compile(why) if why.contains("not a valid component")),
        "{error}"
    );
}

#[test]
fn compiled_code_is_never_taken_from_outside() {
    let cache = TempDir::new().unwrap();
    let engine = Engine::new(caching(cache.path())).unwrap();
    engine.load(&plugin(0)).unwrap();
    let kept = fs::read(&artifacts(cache.path())[0]).unwrap();
    let error = engine.load(&kept).unwrap_err();
    assert!(matches!(error, LoadError::NotAComponent(_)), "{error}");
    let elf = kept
        .windows(4)
        .position(|bytes| bytes == b"\x7fELF")
        .unwrap();
    let error = engine.load(&kept[elf..]).unwrap_err().to_string();
    assert!(error.contains("compiled code"), "{error}");
    assert_eq!(engine.compilations(), 1);
}

#[test]
fn a_restart_with_fifty_plugins_compiles_none() {
    let cache = TempDir::new().unwrap();
    let plugins: Vec<_> = (0..50).map(plugin).collect();
    let first = Engine::new(caching(cache.path())).unwrap();
    for wasm in &plugins {
        first.load(wasm).unwrap();
    }
    assert_eq!((first.compilations(), first.cache_hits()), (50, 0));
    drop(first);
    let again = Engine::new(caching(cache.path())).unwrap();
    for wasm in &plugins {
        assert_eq!(again.load(wasm).unwrap().description().name, "guest");
    }
    assert_eq!((again.compilations(), again.cache_hits()), (0, 50));
}

#[test]
fn a_damaged_or_foreign_artifact_is_compiled_again() {
    let cache = TempDir::new().unwrap();
    let first = Engine::new(caching(cache.path())).unwrap();
    first.load(&plugin(0)).unwrap();
    let path = artifacts(cache.path()).remove(0);
    let good = fs::read(&path).unwrap();
    first.load(&plugin(1)).unwrap();
    let mut others = artifacts(cache.path());
    others.retain(|known| *known != path);
    let foreign = fs::read(&others[0]).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let cut = good[..good.len() - 7].to_vec();
    for bad in [flipped, cut, foreign, Vec::new()] {
        fs::write(&path, bad).unwrap();
        let engine = Engine::new(caching(cache.path())).unwrap();
        engine.load(&plugin(0)).unwrap();
        assert_eq!((engine.compilations(), engine.cache_hits()), (1, 0));
        drop(engine);
        let healed = Engine::new(caching(cache.path())).unwrap();
        healed.load(&plugin(0)).unwrap();
        assert_eq!((healed.compilations(), healed.cache_hits()), (0, 1));
    }
}

#[test]
fn without_a_place_to_keep_code_plugins_still_load() {
    let directory = TempDir::new().unwrap();
    let taken = directory.path().join("a-file");
    fs::write(&taken, "not a directory").unwrap();
    for _ in 0..2 {
        let engine = Engine::new(caching(&taken)).unwrap();
        engine.load(&plugin(0)).unwrap();
        assert_eq!((engine.compilations(), engine.cache_hits()), (1, 0));
    }
    assert_eq!(fs::read(&taken).unwrap(), b"not a directory");
}

#[test]
fn several_compile_at_once_and_each_gets_its_own() {
    let engine = Engine::new(options()).unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let engine = &engine;
            scope.spawn(move || {
                // Half of them come twice, and wait for the first.
                let wasm = plugin(number / 2);
                assert_eq!(engine.load(&wasm).unwrap().size(), wasm.len());
                assert!(engine.load(b"\0asm\x0d\0\x01\0\xff\xff").is_err());
            });
        }
    });
    // Four plugins once each; what is refused is compiled each time that nobody else is at it.
    for number in 0..4 {
        let before = engine.compilations();
        engine.load(&plugin(number)).unwrap();
        assert_eq!(engine.compilations(), before);
    }
}

#[test]
fn a_refused_plugin_leaves_nothing_behind() {
    let cache = TempDir::new().unwrap();
    let engine = Engine::new(caching(cache.path())).unwrap();
    let traps = Guest {
        describe: "(unreachable)".into(),
        ..Guest::filter(KEEP_ALL)
    };
    let error = engine.load(&traps.build()).unwrap_err();
    assert!(matches!(error, LoadError::Describe(_)), "{error}");
    assert_eq!(artifacts(cache.path()), Vec::<PathBuf>::new());
    let good = engine.load(&plugin(0)).unwrap();
    assert_eq!(artifacts(cache.path()).len(), 1);
    engine.forget(&good.digest());
    assert_eq!(artifacts(cache.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_slow_compilation_is_killed_in_time() {
    let engine = Engine::new(EngineOptions {
        compile_timeout_ms: 200,
        ..options()
    })
    .unwrap();
    let wasm = bomb();
    let started = Instant::now();
    let error = engine.load(&wasm).unwrap_err();
    assert_eq!(error, LoadError::CompileTime { max_ms: 200 });
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_greedy_compilation_ends_the_child_alone() {
    let engine = Engine::new(EngineOptions {
        compile_memory_bytes: 64 << 20,
        ..options()
    })
    .unwrap();
    let error = engine.load(&bomb()).unwrap_err();
    let max_bytes = 64 << 20;
    assert_eq!(error, LoadError::CompileMemory { max_bytes });
    engine.load(&plugin(0)).unwrap();
}

#[test]
fn a_program_that_is_no_compiler_is_told_as_such() {
    for (program, expected) in [
        ("/bin/false", "did not survive"),
        ("/nowhere", "did not start"),
    ] {
        let engine = Engine::new(EngineOptions {
            compiler: Compiler::Child(program.into()),
            ..options()
        })
        .unwrap();
        let error = engine.load(&plugin(0)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
