//! `tidegate plugin test`: golden cases in the broker's engine.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};
use tidegate_test::Harness;
use tidegate_test::golden::{self, CaseReport, Mode, Report, Status};

use super::build;
use crate::output::{Output, OutputArgs, Tint, counted, print_json, say, tinted};

/// Run a plugin's golden cases in the broker's engine.
///
/// The limits are the broker's, too. A case is a file golden/NAME.jsonl: one record a line, {"key": "k", "value": {"any": "json"}, "headers": {"name":
/// "value"}}, and before them, if needed, a line with the setting, {"config": {"key": "value"}, "topic": "t"}. What the plugin
/// answers is compared with golden/NAME.snap, which --update writes.
///
/// Unit tests in the plugin's own language are another matter: in Rust, `cargo test`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin test                             # the project here: build it, run golden/*.jsonl
  tidegate plugin test --update                    # write the snapshots; read them before you commit
  tidegate plugin test match.wasm --golden plugins/match/golden")]
pub(crate) struct TestArgs {
    /// A plugin's directory, which is built first, or a component file.
    #[arg(default_value = ".", value_name = "DIR|FILE.wasm")]
    plugin: PathBuf,
    /// Where the cases are [default: `golden` in the plugin's directory, or beside the file].
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,
    /// Write the snapshots instead of comparing with them.
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: TestArgs) -> Result<()> {
    let dir = match &args.golden {
        Some(dir) => dir.clone(),
        None if args.plugin.is_dir() => args.plugin.join("golden"),
        None => args.plugin.with_file_name("golden"),
    };
    let harness = load(&args.plugin)?;
    let mode = match args.update {
        true => Mode::Update,
        false => Mode::from_env(),
    };
    let report = golden::run(&harness, &dir, mode)?;
    match args.output.output {
        Output::Json => print_json(&json!({
            "cases": report.cases.iter().map(case_json).collect::<Vec<_>>(),
            "passed": report.passed(),
        }))?,
        Output::Table => print(&report)?,
    }
    let failed = report.cases.iter().filter(|case| !case.passed()).count();
    if failed > 0 {
        bail!(
            "{failed} of {} did not pass",
            counted(report.cases.len() as u64, "case")
        );
    }
    Ok(())
}

/// The plugin of a project, built first, or of a component file.
pub(super) fn load(plugin: &Path) -> Result<Harness> {
    let harness = match plugin.is_dir() {
        true => Harness::from_bytes(&build::build(plugin)?.bytes)?,
        false => Harness::load(plugin)?,
    };
    Ok(harness)
}

fn print(report: &Report) -> Result<()> {
    let (mut passed, mut records) = (0, 0);
    for case in &report.cases {
        let (word, tint) = match case.passed() {
            true => ("ok    ", Tint::Good),
            false => ("FAILED", Tint::Bad),
        };
        let about = match &case.status {
            Status::Same => format!(
                "{}: {}",
                case.path.display(),
                counted(case.records as u64, "record")
            ),
            _ => case.to_string(),
        };
        let mut lines = about.lines();
        say!(
            "{} {}",
            tinted(word, tint),
            lines.next().unwrap_or_default()
        )?;
        for line in lines {
            say!("{}", difference_line(line))?;
        }
        passed += u64::from(case.passed());
        records += case.records as u64;
    }
    if passed == report.cases.len() as u64 {
        say!(
            "{}, {}: as they should be",
            counted(passed, "case"),
            counted(records, "record")
        )?;
    }
    Ok(())
}

fn difference_line(line: &str) -> String {
    match line.trim_start().chars().next() {
        Some('-') => tinted(line, Tint::Bad),
        Some('+') => tinted(line, Tint::Good),
        _ => line.to_owned(),
    }
}

fn case_json(case: &CaseReport) -> Value {
    let (status, told) = match &case.status {
        Status::Same => ("same", None),
        Status::Written => ("written", None),
        Status::Changed(difference) => ("changed", Some(difference.as_str())),
        Status::Missing => ("missing", None),
        Status::Orphan => ("orphan", None),
        Status::Broken(sentence) => ("broken", Some(sentence.as_str())),
    };
    json!({
        "case": case.path.display().to_string(),
        "records": case.records,
        "status": status,
        "detail": told,
    })
}
