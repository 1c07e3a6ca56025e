//! The parts of one audit, put together.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::{Config, MergeArgs, TableWanted};
use crate::job::audit_pieces;
use crate::output::{Silence, Sinks, Told, say};
use crate::{
    FAILED, can_be_read_again, conclude, exhibits, is_read_to_its_end, look_at_table, plan,
};
use tcp_window_audit::audit::{Audit, Exhibits, Input, Provenance};
use tcp_window_audit::diagnose::{diagnose, wish};
use tcp_window_audit::occupancy::Assessment;
use tcp_window_audit::partial::{Part, Series, Set, Source, Unfit, Verdicts};
use tcp_window_audit::pipeline::{
    Observer, Partial, Plan, TableView, Terms, Wanted, Whole, chain, gather,
};
use tcp_window_audit::source::piece::PieceFile;

/// Merges parts, writes the reports, and returns the exit status.
pub(crate) fn run(merge: &MergeArgs) -> u8 {
    match put_together(merge) {
        Ok(status) => status,
        Err(error) => {
            say(&chain(&*error));
            FAILED
        }
    }
}

fn put_together(merge: &MergeArgs) -> Result<u8, Box<dyn std::error::Error>> {
    let set = Set::open(&merge.parts)?;
    let config = merge.config(set.common())?;
    let mut sinks = Sinks::open(&config)?;
    let (Some(plan), Some(results)) = (plan(&config), set.results()?) else { return Ok(FAILED) };
    if config.verdicts.is_some() {
        let mut verdicts = Verdicts::of(&set)?;
        loop {
            let batch = verdicts.batch()?;
            if batch.is_empty() {
                break;
            }
            Observer::verdicts(&mut sinks, &batch, &results.frames.inputs)?;
        }
    }
    let mut audit = results.finish(&terms(&plan));
    complete(&config, &plan, &set, &mut audit);
    Ok(conclude(&audit, sinks, &config))
}

/// Adds what is known beside the results of the parts, as a single run does.
fn complete(config: &Config, plan: &Plan, set: &Set, audit: &mut Audit) {
    let is_split = set.parts().iter().all(|part| !part.header.pieces.is_empty());
    if config.shows_exhibits() {
        audit.exhibits = if is_split {
            exhibits_of_pieces(config, plan, set, audit)
        } else if has_changed(set) {
            Exhibits::without("the input has changed since it was first read")
        } else {
            exhibits(config, plan, audit)
        };
    }
    let mut told = Told::default();
    audit.incomplete.iter().for_each(|problem| told.say(problem));
    if config.table == TableWanted::WhenHalfFull && audit.table_is_half_full() {
        if is_split {
            match table_of_pieces(config, plan, set) {
                Ok(table) => audit.table = table,
                Err(problem) => say(&format!("the connection table cannot be shown: {problem}")),
            }
        } else if can_be_read_again(config) && !has_changed(set) {
            look_at_table(config, plan, audit, &mut told);
        } else {
            say(
                "the connection table cannot be shown, since the inputs cannot be read again: parts \
                 made with --table=always tell of it",
            );
        }
    }
    let mut digests = BTreeMap::new();
    if config.wants_digests() && is_read_to_its_end(&audit.inputs) {
        for (place, path) in config.files.iter().enumerate() {
            digests.extend(set.digest(place).map(|digest| (path.display().to_string(), digest)));
        }
    }
    let name = |input: &Input| digests.get(&input.summary.name).copied();
    let digests = audit.inputs.read.iter().map(name).collect();
    audit.provenance = Provenance { digests, ..config.provenance.clone() };
    config.privacy.apply(audit);
}

/// Returns whether an input has another size than when the parts were made.
fn has_changed(set: &Set) -> bool {
    let has_changed = |input: &Source| {
        let len = std::fs::metadata(&input.path).map(|found| found.len()).ok();
        input.stamp.zip(len).is_some_and(|((then, _), now)| then != now)
    };
    set.common().inputs.iter().any(has_changed)
}

/// Opens the pieces that a part was made from.
fn pieces(part: &Part, config: &Config) -> Result<Series, Unfit> {
    let files = part.header.pieces.iter().map(|piece| PieceFile::open(Path::new(&piece.path)));
    let files = files.collect::<Result<_, _>>().map_err(Unfit::from)?;
    Series::open(files, part.header.share, &config.decoding())
}

/// Reads the pieces of all parts a second time for what reports show.
fn exhibits_of_pieces(config: &Config, plan: &Plan, set: &Set, audit: &Audit) -> Exhibits {
    let wish = wish(audit, &diagnose(audit));
    if wish.is_empty() {
        return Exhibits::default();
    }
    let plan = Plan { frames: Whole::Piece, ..plan.clone() };
    let of_part = |part: &Part| match pieces(part, config) {
        Ok(series) => gather(&plan, &wish.of_share(part.header.share), &mut series.source()),
        Err(error) => Exhibits::without(&chain(&error)),
    };
    Exhibits::of_shares(&wish, set.parts().iter().map(of_part).collect())
}

/// Reads the pieces of all parts a second time for the connection table.
fn table_of_pieces(
    config: &Config,
    plan: &Plan,
    set: &Set,
) -> Result<Option<Box<Assessment>>, String> {
    let plan = Plan { table: TableView::Assessed, wanted: Wanted::Findings, ..plan.clone() };
    let mut whole: Option<Partial> = None;
    for part in set.parts() {
        let series = pieces(part, config).map_err(|error| chain(&error))?;
        let results = audit_pieces(plan.clone(), &series, &mut Silence)?;
        match &mut whole {
            None => whole = Some(results),
            Some(whole) => whole.merge(results),
        }
    }
    Ok(whole.and_then(|whole| whole.finish(&terms(&plan)).table))
}

fn terms(plan: &Plan) -> Terms {
    let (method, tunnels, memory) = (plan.method.clone(), plan.tunnels, plan.memory);
    Terms { method, tunnels, memory, host: None, threads: plan.threads }
}
