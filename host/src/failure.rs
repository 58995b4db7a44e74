//! What ends the program, and with which exit code.

use std::fmt;

use crate::rule::RuleError;
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::topic::TopicError;

/// An error on its way to `main`, which prints it once and exits with its code.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub error: anyhow::Error,
}

pub type Outcome<T> = Result<T, Failure>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: everything after the first batch, a file that ends too early, findings.
    Run = 1,
    /// 2: command line, configuration, or a component that does not load or whose cases or plan do not fit.
    Usage = 2,
    /// 3: something outside is missing or wrong before the first batch.
    Outside = 3,
}

impl Failure {
    pub fn run(error: impl Into<anyhow::Error>) -> Self {
        Failure { exit: Exit::Run, error: error.into() }
    }

    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Failure { exit: Exit::Usage, error: error.into() }
    }

    pub fn outside(error: impl Into<anyhow::Error>) -> Self {
        Failure { exit: Exit::Outside, error: error.into() }
    }
}

/// `begun`: whether a batch has been committed by this process.
impl Failure {
    pub fn source(error: SourceError, begun: bool) -> Self {
        let exit = match &error {
            SourceError::Unfit(_) if !begun => Exit::Outside,
            SourceError::Unfit(_) | SourceError::Stop(_) => Exit::Run,
        };
        Failure { exit, error: error.into() }
    }

    pub fn rule(error: RuleError, begun: bool) -> Self {
        let exit = match &error {
            RuleError::Unfit(_) if !begun => Exit::Usage,
            RuleError::Unfit(_) | RuleError::Batch(_) | RuleError::Stop(_) => Exit::Run,
        };
        Failure { exit, error: error.into() }
    }

    pub fn topic(error: TopicError, begun: bool) -> Self {
        let exit = match &error {
            TopicError::Usage(_) if !begun => Exit::Usage,
            TopicError::Unfit(_) | TopicError::Again(_) if !begun => Exit::Outside,
            TopicError::Usage(_) | TopicError::Unfit(_) | TopicError::Again(_) | TopicError::Stop(_) => Exit::Run,
        };
        Failure { exit, error: error.into() }
    }

    pub fn sink(error: SinkError, begun: bool) -> Self {
        let exit = match &error {
            SinkError::Unfit(_) | SinkError::OtherTable(_) if !begun => Exit::Outside,
            SinkError::Unfit(_)
            | SinkError::OtherTable(_)
            | SinkError::Fenced(_)
            | SinkError::Stop(_)
            | SinkError::Misfit(_)
            | SinkError::Rejected(_) => Exit::Run,
        };
        Failure { exit, error: error.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}
