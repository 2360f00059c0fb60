//! The error codes that every surface of Starlog shares: number on the wire, name for people.

use std::fmt;

/// What an error says about the work it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request had no effect and never will have one.
    NotDone,
    /// The request may have been carried out, or may still be.
    Unknown,
}

/// One row per code: number, name, outcome, and whether sending the same request again can help.
macro_rules! error_codes {
    ($($number:literal $name:ident $outcome:ident $retry:literal $meaning:literal;)*) => {
        /// A stable error code. The number travels in headers, the name in texts.
        #[allow(non_camel_case_types, reason = "the names are the codes that people see")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $name = $number,)*
        }

        impl ErrorCode {
            /// Every code, in the order of its number.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The code with this number; `None` for 0 (no error) and for numbers of a later
            /// version.
            pub fn from_number(number: u16) -> Option<ErrorCode> {
                match number {
                    $($number => Some(ErrorCode::$name),)*
                    _ => None,
                }
            }

            /// The number that stands in a dialect header; never 0.
            pub fn number(self) -> u16 {
                match self {
                    $(ErrorCode::$name => $number,)*
                }
            }

            /// The name, for example `WRONG_EXPECTED_VERSION`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(ErrorCode::$name => stringify!($name),)*
                }
            }

            /// Whether the request is definitely not done, or its outcome is unknown.
            pub fn outcome(self) -> Outcome {
                match self {
                    $(ErrorCode::$name => Outcome::$outcome,)*
                }
            }

            /// Whether sending the same request again, with the same ids, can succeed.
            pub fn retry(self) -> bool {
                match self {
                    $(ErrorCode::$name => $retry,)*
                }
            }
        }
    };
}

error_codes! {
    1 INVALID_ARGUMENT NotDone false "The request breaks a rule; its message says which.";
    2 EVENT_TOO_LARGE NotDone false "One event is larger than the limit.";
    3 BATCH_TOO_LARGE NotDone false "One append has too many events or bytes.";
    4 WRONG_EXPECTED_VERSION NotDone false "The stream is at another version than expected.";
    5 CONDITION_FAILED NotDone false "A condition of the request does not hold.";
    6 STREAM_NOT_FOUND NotDone false "The stream has no events.";
    7 STORE_NOT_FOUND NotDone false "No store of this name is known.";
    8 STREAM_DELETED NotDone false "The stream was deleted.";
    9 NOT_LEADER NotDone true "The addressed process does not lead this partition.";
    10 NO_WORKER NotDone true "The service is known, but no worker of it is alive.";
    11 BUSY NotDone true "A queue is full; retry after the time given.";
    12 TIMEOUT_UNKNOWN Unknown true "No answer in time after delivery.";
    13 INDEX_BEHIND NotDone true "The index has not yet reached what was asked for.";
    14 EPOCH_CHANGED NotDone false "The leader's epoch changed; read again from the checkpoint.";
    15 AHEAD_OF_LOG NotDone false "The reader is ahead of the log; a rebuild is needed.";
    16 CORRUPT NotDone false "Stored data is damaged.";
    17 DISK_FULL NotDone true "The disk is full; nothing was written.";
    18 IO Unknown true "The disk failed.";
    19 UNAUTHENTICATED NotDone false "The peer did not prove who it is.";
    20 FORBIDDEN NotDone false "The peer may not do this.";
    21 INTERNAL Unknown true "A fault in Starlog itself.";
    22 ID_REUSED NotDone false "An event id is already used by another append.";
    23 CROSS_PARTITION NotDone false "The streams of one append live in several partitions.";
    24 BAD_SIGNATURE NotDone false "The signature does not fit the event.";
    25 UNEXPECTED_NUMBER NotDone true "The request number leaves a hole; details say what fits.";
    26 SERVICE_NOT_FOUND NotDone true "Nobody offers this service.";
    27 STALE_TOPOLOGY NotDone true "The partition does not exist; ask for the topology again.";
    28 EXPIRED NotDone true "The deadline passed before the request was delivered.";
    29 UNSUPPORTED NotDone false "This version does not support what was asked for.";
    30 POISONED Unknown true "The writer stopped for good; its process must restart.";
    31 STEPPING_DOWN Unknown true "The leader stepped down before it could answer.";
    32 WORKER_LOST Unknown true "The worker that held the request is gone.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_from_one_without_a_hole_and_lead_back() {
        for (index, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(usize::from(code.number()), index + 1, "{code}");
            assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
        }
        assert_eq!(ErrorCode::from_number(0), None);
        assert_eq!(ErrorCode::from_number(33), None);
    }

    #[test]
    fn only_six_codes_leave_the_outcome_open() {
        let unknown: Vec<&str> = ErrorCode::ALL
            .iter()
            .filter(|code| code.outcome() == Outcome::Unknown)
            .map(|code| code.as_str())
            .collect();
        let expected =
            ["TIMEOUT_UNKNOWN", "IO", "INTERNAL", "POISONED", "STEPPING_DOWN", "WORKER_LOST"];
        assert_eq!(unknown, expected);
    }
}
