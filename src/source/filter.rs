//! Frames that a filter expression of libpcap lets pass.
//!
//! The expression is compiled for each link type that a capture has, because the same words mean
//! other bytes behind another header.

use std::collections::BTreeMap;
use std::ffi::CString;

use super::libpcap::{Library, Program, WITHOUT_LIBPCAP};
use super::{Error, FilterSummary, FrameSource, SourceSummary};
use crate::frame::{Batch, Frame, LinkType};

/// The option that takes the expression.
const OPTION: &str = "--filter";

/// Link types on which an expression is tried before any frame is read: one that none of them
/// accepts is wrong in itself.
const TRIED: [LinkType; 4] = [LinkType::ETHERNET, LinkType::LINUX_SLL, LinkType::RAW, RADIOTAP];
const RADIOTAP: LinkType = LinkType(127);

/// Why a filter cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// libpcap is not installed.
    #[error("{0} needs libpcap, {WITHOUT_LIBPCAP}")]
    NoLibrary(&'static str),
    /// The expression is not one.
    #[error("{option} {expression}: {reason}")]
    Expression {
        /// The option that takes it.
        option: &'static str,
        /// As given.
        expression: String,
        /// What libpcap says of it.
        reason: String,
    },
    /// The expression holds a null byte.
    #[error("{0}: a null byte in the expression")]
    NullByte(&'static str),
}

/// Returns whether libpcap can be loaded here, which filters and live captures need.
pub fn has_libpcap() -> bool {
    Library::load().is_some()
}

/// An expression, compiled for the link types met so far.
pub struct Filter {
    library: Library,
    expression: CString,
    programs: BTreeMap<LinkType, Result<Program, String>>,
}

impl Filter {
    /// Checks an expression.
    ///
    /// # Errors
    ///
    /// [`FilterError`] where libpcap is not installed, or does not understand the expression.
    pub fn new(expression: &str) -> Result<Self, FilterError> {
        let library = Library::load().ok_or(FilterError::NoLibrary(OPTION))?;
        let text = CString::new(expression).map_err(|_| FilterError::NullByte(OPTION))?;
        let mut filter = Self { library, expression: text, programs: BTreeMap::new() };
        for link in TRIED {
            filter.compile(link);
        }
        let mut reasons = filter.programs.get(&LinkType::ETHERNET).into_iter();
        let is_usable = filter.programs.values().any(Result::is_ok);
        match reasons.next() {
            Some(Err(reason)) if !is_usable => {
                let (expression, reason) = (expression.to_owned(), reason.clone());
                Err(FilterError::Expression { option: OPTION, expression, reason })
            }
            _ => Ok(filter),
        }
    }

    fn compile(&mut self, link: LinkType) {
        let compiled = self.library.compile(&self.expression, dlt(link));
        self.programs.insert(link, compiled);
    }

    /// Returns whether a frame passes, or why its link type cannot be judged.
    fn judge(&mut self, frame: &Frame<'_>) -> Result<bool, &str> {
        if !self.programs.contains_key(&frame.link) {
            self.compile(frame.link);
        }
        match self.programs.get(&frame.link) {
            Some(Ok(program)) => Ok(program.matches(frame)),
            Some(Err(reason)) => Err(reason),
            None => Ok(false),
        }
    }
}

/// Returns the number that libpcap knows a link type by: the same but for some old ones
/// (`pcap-common.c`, libpcap 1.10).
pub(super) fn dlt(link: LinkType) -> i32 {
    let renamed = RENAMED.iter().find(|(linktype, _)| *linktype == link.0);
    renamed.map_or_else(|| i32::from(link.0), |(_, dlt)| *dlt)
}

/// Returns the link type that libpcap knows by this number.
#[cfg(unix)]
pub(super) fn link_type(dlt: i32) -> LinkType {
    let renamed = RENAMED.iter().find(|(_, number)| *number == dlt);
    let same = || u16::try_from(dlt).unwrap_or(u16::MAX);
    LinkType(renamed.map_or_else(same, |(linktype, _)| *linktype))
}

/// The link types that libpcap knows by another number.
const RENAMED: [(u16, i32); 5] = [
    (100, 11),
    (101, if cfg!(target_os = "openbsd") { 14 } else { 12 }),
    (102, 15),
    (103, 16),
    (106, 19),
];

/// A source of which only the frames that pass a filter are left.
pub struct Filtered {
    source: Box<dyn FrameSource + Send>,
    filter: Filter,
    left_out: u64,
    /// Link types that the filter cannot judge, and why.
    unusable: BTreeMap<LinkType, String>,
}

impl Filtered {
    /// Puts a filter behind a source.
    pub fn new(source: Box<dyn FrameSource + Send>, filter: Filter) -> Self {
        Self { source, filter, left_out: 0, unusable: BTreeMap::new() }
    }

    /// Drops the frames that do not pass.
    fn sift(&mut self, batch: &mut Batch) {
        let before = batch.len();
        batch.retain(|frame| match self.filter.judge(frame) {
            Ok(passes) => passes,
            Err(reason) => {
                self.unusable.entry(frame.link).or_insert_with(|| reason.to_owned());
                false
            }
        });
        self.left_out += (before - batch.len()) as u64;
    }
}

impl FrameSource for Filtered {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        while self.source.fill(batch)? {
            self.sift(batch);
            if !batch.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn summary(&self) -> SourceSummary {
        self.source.summary()
    }

    fn summaries(&self) -> Vec<SourceSummary> {
        self.source.summaries()
    }

    fn take_problems(&mut self) -> Vec<Error> {
        let mut problems = self.source.take_problems();
        let unusable = std::mem::take(&mut self.unusable).into_iter();
        problems.extend(unusable.map(|(link, reason)| Error::Filter { link: link.0, reason }));
        problems
    }

    fn filter(&self) -> Option<FilterSummary> {
        let expression = self.filter.expression.to_string_lossy().into_owned();
        Some(FilterSummary { expression, left_out: Some(self.left_out) })
    }
}
