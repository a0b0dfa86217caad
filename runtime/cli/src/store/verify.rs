//! `tidegate store verify`: reads everything and names what is not as it was written.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};
use tidegate_broker::offline::{Checked, Finding};

use super::Where;
use crate::output::{Output, OutputArgs, counted, print_json, say, size_text};
use crate::progress;

/// Findings that are printed; beyond them they are counted.
const MAX_FINDINGS: usize = 1000;

/// Check every stored batch of a data directory that no broker runs on.
#[derive(Args, Debug)]
#[command(
    after_help = "Reads every block, checks its checksum and the CRC of every batch, and compares the batches with the index. Nothing
is changed. The exit code is 1 when something is wrong.

Example:
  tidegate store verify --data-dir /var/lib/tidegate"
)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<()> {
    let data = args.place.open()?;
    let bar = progress::bar(data.bytes(), "bytes checked");
    let (mut findings, mut more) = (Vec::new(), 0u64);
    let done = data.verify(
        &mut |finding| match findings.len() < MAX_FINDINGS {
            true => findings.push(finding),
            false => more += 1,
        },
        &mut |done| bar.set_position(done.bytes),
    );
    bar.finish_and_clear();
    match args.output.output {
        Output::Json => print_json(&report(&done, &findings, more))?,
        Output::Table => {
            for finding in &findings {
                say!("{}", line(finding))?;
            }
            say!(
                "{} in {} checked, {}",
                counted(done.batches, "batch").replace("batchs", "batches"),
                counted(done.partitions, "partition"),
                size_text(done.bytes)
            )?;
        }
    }
    match findings.len() as u64 + more {
        0 => Ok(()),
        wrong => bail!("{} found", counted(wrong, "problem")),
    }
}

fn line(finding: &Finding) -> String {
    let topic = finding.topic.as_deref().unwrap_or("(no topic)");
    let place = match (finding.id, finding.index) {
        (Some(_), Some(index)) => format!("{topic} partition {index}"),
        (Some(id), None) => format!("partition id {id}"),
        _ => return finding.what.clone(),
    };
    match finding.offset {
        Some(offset) => format!("{place} offset {offset}: {}", finding.what),
        None => format!("{place}: {}", finding.what),
    }
}

fn report(done: &Checked, findings: &[Finding], more: u64) -> Value {
    let problems: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "topic": finding.topic, "partition": finding.index, "id": finding.id, "offset": finding.offset,
                "problem": finding.what,
            })
        })
        .collect();
    json!({
        "partitions": done.partitions, "batches": done.batches, "bytes": done.bytes, "problems": problems,
        "problems_not_listed": more,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_where() {
        let finding = Finding {
            topic: Some("t".into()),
            index: Some(3),
            id: Some(7),
            offset: Some(12),
            what: "bad".into(),
        };
        assert_eq!(line(&finding), "t partition 3 offset 12: bad");
        let stranger = Finding {
            topic: None,
            index: None,
            offset: None,
            ..finding
        };
        assert_eq!(line(&stranger), "partition id 7: bad");
    }
}
