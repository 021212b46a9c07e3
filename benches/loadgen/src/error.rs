use std::io;

/// What ends a run early. Wrong replies do not: they are counted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} (see loadgen --help)")]
    Usage(#[from] lexopt::Error),
    #[error("{option} must be {expected}")]
    Option {
        option: &'static str,
        expected: &'static str,
    },
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("connection to {address}: {source}")]
    Connection { address: String, source: io::Error },
    #[error("near socket {path}: {source}")]
    Near {
        path: String,
        source: yggdrasil_near::NearError,
    },
    #[error("epoll: {0}")]
    Epoll(#[from] rustix::io::Errno),
    #[error("CLUSTER SLOTS of {address}: {reason}")]
    Cluster { address: String, reason: String },
    #[error("no reply for {seconds} s, {outstanding} are due")]
    Stalled { seconds: u64, outstanding: usize },
    #[error("expected {expected} from {address}, got {got:?}")]
    Unexpected {
        address: String,
        expected: &'static str,
        got: String,
    },
}
