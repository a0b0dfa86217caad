//! `tidegate dlq redrive`: dead letters go back where they came from.
//!
//! At least once: a letter counts as done when the broker has acknowledged it in its topic, and only then is that kept, as the
//! offsets of a consumer group. A run that is cut short goes on after the last that was kept. Letters are never taken out of
//! the dead-letter topic; its retention does that.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::letter::Letter;
use super::select::Select;
use crate::args::Global;
use crate::client::{Client, Outgoing, Producer, Reader, Sending};
use crate::output::{Output, OutputArgs, counted, print_json, print_table, say};
use crate::progress;

/// Letters on their way together.
const CHUNK: usize = 1000;
/// Letters that are told one by one when they are refused again.
const TOLD: usize = 20;

/// Send dead letters to the topics they came from, or to another.
///
/// As their producers sent them, without the headers that say what became of them.
///
/// At least once: how far it came is kept in a consumer group, so a run that was cut short goes on where it ended, and the next
/// one begins where the last did. Letters stay in the dead-letter topic. One that its topic refuses again ends the run, and is
/// the first of the next; with --skip-refused it is told and passed over. A chain whose policy is dead-letter does not
/// refuse: what it gives up again is a new dead letter, for the next run.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate dlq redrive orders-dead --dry-run                      # what would go where
  tidegate dlq redrive orders-dead                                # once the plugin is mended
  tidegate dlq redrive orders-dead --match plugin=validate --limit 10
  tidegate dlq redrive orders-dead --to orders-repair             # for somebody to look at")]
pub(crate) struct RedriveArgs {
    /// The dead-letter topic.
    topic: String,
    /// Send all of them to this topic [default: the one each came from].
    #[arg(long, value_name = "TOPIC")]
    to: Option<String>,
    #[command(flatten)]
    select: Select,
    /// Stop after N letters.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Say what would be sent, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Pass over letters that their topic refuses again.
    #[arg(long)]
    skip_refused: bool,
    /// Begin at the beginning, whatever was sent before.
    #[arg(long)]
    from_beginning: bool,
    /// The consumer group that keeps how far it came [default: tidegate-redrive-TOPIC, and what --match and --to come to].
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: RedriveArgs, global: &Global) -> Result<()> {
    let client = Client::connect(&global.bootstrap)?;
    let mut reader = Reader::open(client, &args.topic, &[])?;
    let group = args.group();
    if !args.from_beginning {
        reader.seek_to_group(&group)?;
    }
    // What this run has refused again must not keep it going for ever.
    reader.until_end()?;
    let mut redrive = Redrive {
        args: &args,
        global,
        group: &group,
        producers: BTreeMap::new(),
        sent: BTreeMap::new(),
        passed: 0,
        orphans: 0,
        refused: Vec::new(),
    };
    let bar = progress::bar(reader.left(), "redriving");
    let total = reader.left();
    let result = redrive.run(&mut reader, &|left| bar.set_position(total - left));
    bar.finish_and_clear();
    redrive.report()?;
    result
}

impl RedriveArgs {
    /// Another selection and another target have a progress of their own: what one passes over, the other has not sent.
    fn group(&self) -> String {
        if let Some(group) = &self.group {
            return group.clone();
        }
        let plain = format!("tidegate-redrive-{}", self.topic);
        let selection = self.select.name() + self.to.as_deref().unwrap_or_default();
        if selection.is_empty() {
            return plain;
        }
        let digest = Sha256::digest(selection);
        let short: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
        format!("{plain}-{short}")
    }
}

struct Redrive<'a> {
    args: &'a RedriveArgs,
    global: &'a Global,
    group: &'a str,
    producers: BTreeMap<String, Producer>,
    /// By target.
    sent: BTreeMap<String, u64>,
    /// Those that `--match` leaves alone.
    passed: u64,
    /// Records that are no dead letters.
    orphans: u64,
    refused: Vec<(Letter, String)>,
}

impl Redrive<'_> {
    fn run(&mut self, reader: &mut Reader, progress: &dyn Fn(u64)) -> Result<()> {
        while !reader.is_done() && !self.is_at_limit() {
            let before = reader.positions.clone();
            let mut letters = Vec::new();
            let room = self.room();
            let (mut passed, mut orphans) = (0, 0);
            reader.poll(&mut |partition, offset, record| {
                if letters.len() >= room {
                    return Ok(false);
                }
                let letter = Letter::read(partition, offset, record);
                match (&letter.source, &self.args.to) {
                    _ if !self.args.select.takes(&letter) => passed += 1,
                    (None, None) => orphans += 1,
                    _ => letters.push(letter),
                }
                Ok(true)
            })?;
            self.passed += passed;
            self.orphans += orphans;
            let refused = match self.args.dry_run {
                true => self.only_count(&letters),
                false => self.send(&letters)?,
            };
            self.keep(reader, before, refused)?;
            progress(reader.left());
        }
        Ok(())
    }

    fn total(&self) -> u64 {
        self.sent.values().sum()
    }

    fn is_at_limit(&self) -> bool {
        self.args.limit.is_some_and(|limit| self.total() >= limit)
    }

    /// How many letters the next chunk may have.
    fn room(&self) -> usize {
        let left = self
            .args
            .limit
            .map(|limit| limit.saturating_sub(self.total()));
        let left = left.and_then(|left| usize::try_from(left).ok());
        left.map_or(CHUNK, |left| left.min(CHUNK))
    }

    fn target<'l>(&'l self, letter: &'l Letter) -> &'l str {
        let source = letter.source.as_ref().map(|source| source.topic.as_str());
        self.args.to.as_deref().or(source).unwrap_or_default()
    }

    fn only_count(&mut self, letters: &[Letter]) -> Vec<(Letter, String)> {
        for letter in letters {
            let target = self.target(letter).to_owned();
            *self.sent.entry(target).or_insert(0) += 1;
        }
        Vec::new()
    }

    /// Sends them and gives back those that were refused again, with the reasons.
    fn send(&mut self, letters: &[Letter]) -> Result<Vec<(Letter, String)>> {
        let mut targets: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, letter) in letters.iter().enumerate() {
            let target = self.target(letter).to_owned();
            targets.entry(target).or_default().push(index);
        }
        let mut refused = Vec::new();
        for (target, indices) in targets {
            if !self.producers.contains_key(&target) {
                let client = Client::connect(&self.global.bootstrap)?;
                let producer = Producer::open(client, &target, Sending::default())?;
                self.producers.insert(target.clone(), producer);
            }
            let Some(producer) = self.producers.get_mut(&target) else {
                continue;
            };
            let chosen = indices.iter().filter_map(|index| letters.get(*index));
            let chosen: Vec<&Letter> = chosen.collect();
            let (sent, again) = deliver(producer, &target, &chosen)?;
            *self.sent.entry(target).or_insert(0) += sent;
            refused.extend(again);
        }
        Ok(refused)
    }

    /// Keeps how far it came. Where a letter was refused, and is not to be passed over, that is before it.
    fn keep(
        &mut self,
        reader: &mut Reader,
        before: BTreeMap<i32, i64>,
        refused: Vec<(Letter, String)>,
    ) -> Result<()> {
        let stops = !refused.is_empty() && !self.args.skip_refused;
        if stops {
            for (letter, _) in &refused {
                let position = reader
                    .positions
                    .entry(letter.partition)
                    .or_insert(letter.offset);
                *position = letter.offset.min(*position);
            }
        }
        let count = refused.len() as u64;
        self.refused.extend(refused);
        if self.args.dry_run {
            return Ok(());
        }
        if reader.positions != before {
            reader.commit(self.group)?;
        }
        match stops {
            true => bail!(
                "{} refused again; mend the cause and run this again, or pass over such letters with --skip-refused",
                counted(count, "letter")
            ),
            false => Ok(()),
        }
    }

    fn report(&self) -> Result<()> {
        for (letter, reason) in self.refused.iter().take(TOLD) {
            eprintln!(
                "refused again: {}/{} from {}: {reason}",
                letter.partition,
                letter.offset,
                letter.source_text()
            );
        }
        if self.refused.len() > TOLD {
            eprintln!("... and {} more", self.refused.len() - TOLD);
        }
        if self.args.output.output == Output::Json {
            return print_json(&json!({
                "topic": self.args.topic,
                "dry_run": self.args.dry_run,
                "sent": self.sent,
                "refused": self.refused.iter().map(|(letter, reason)| {
                    json!({"partition": letter.partition, "offset": letter.offset, "reason": reason})
                }).collect::<Vec<_>>(),
                "passed_over": self.passed,
                "no_dead_letters": self.orphans,
                "group": self.group,
            }));
        }
        let rows = self.sent.iter().filter(|(_, n)| **n > 0);
        let rows: Vec<_> = rows
            .map(|(target, n)| vec![target.clone(), n.to_string()])
            .collect();
        if !rows.is_empty() {
            let column = match self.args.dry_run {
                true => "WOULD BE SENT",
                false => "SENT",
            };
            print_table(&["TOPIC", column], rows)?;
        }
        for (n, what) in [
            (self.passed, "passed over by --match"),
            (
                self.orphans,
                "without tidegate.source.topic; --to would send them",
            ),
        ] {
            if n > 0 {
                say!("{} {what}", counted(n, "record"))?;
            }
        }
        match (self.args.dry_run, self.total()) {
            (_, 0) if self.refused.is_empty() => eprintln!(
                "nothing to send after what group {} has sent already; --from-beginning sends it again",
                self.group
            ),
            (true, _) => eprintln!("nothing was sent"),
            (false, _) => eprintln!("progress is kept in group {}", self.group),
        }
        Ok(())
    }
}

/// Sends letters to one topic; a batch that is refused is sent again letter by letter, since a topic refuses batches as a whole.
fn deliver(
    producer: &mut Producer,
    target: &str,
    letters: &[&Letter],
) -> Result<(u64, Vec<(Letter, String)>)> {
    let mut refused = Vec::new();
    let mut sent = 0;
    for (index, letter) in letters.iter().enumerate() {
        push(producer, target, index, letter)?;
    }
    let flushed = producer.flush()?;
    sent += flushed.sent;
    let tags = flushed.refused.iter().flat_map(|batch| &batch.tags);
    let again = tags.filter_map(|tag| letters.get(usize::try_from(*tag).ok()?));
    for letter in again {
        push(producer, target, 0, letter)?;
        let flushed = producer.flush()?;
        sent += flushed.sent;
        for batch in flushed.refused {
            let words = batch.records.first().map(|(_, words)| words.clone());
            let reason = words.filter(|words| !words.is_empty());
            refused.push((
                (*letter).clone(),
                reason.unwrap_or_else(|| batch.error.to_string()),
            ));
        }
    }
    Ok((sent, refused))
}

fn push(producer: &mut Producer, target: &str, tag: usize, letter: &Letter) -> Result<()> {
    // Back into the partition it came from, so that its neighbours are the same again.
    let own = letter
        .source
        .as_ref()
        .filter(|source| source.topic == target);
    let partition = own.and_then(|source| source.partition);
    let headers: Vec<_> = letter
        .headers
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_deref()))
        .collect();
    producer.push(Outgoing {
        tag: tag as u64,
        partition: partition.filter(|index| producer.has_partition(*index)),
        timestamp: letter.timestamp,
        key: letter.key.as_deref(),
        value: letter.value.as_deref(),
        headers: &headers,
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Whole {
        #[command(flatten)]
        args: RedriveArgs,
    }

    fn group(words: &[&str]) -> String {
        let words = ["redrive", "dead"].iter().chain(words);
        Whole::try_parse_from(words).unwrap().args.group()
    }

    #[test]
    fn each_selection_has_a_progress_of_its_own() {
        assert_eq!(group(&[]), "tidegate-redrive-dead");
        assert_eq!(group(&["--limit", "5"]), group(&[]));
        let by_plugin = group(&["--match", "plugin=a"]);
        assert_ne!(by_plugin, group(&[]));
        assert_ne!(by_plugin, group(&["--match", "plugin=b"]));
        assert_ne!(group(&["--to", "x"]), group(&[]));
        assert_eq!(group(&["--group", "mine", "--to", "x"]), "mine");
    }
}
