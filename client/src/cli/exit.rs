//! Exit codes: what a script may rely on.

use broker::error_code::ErrorCode;

/// Done.
pub const OK: u8 = 0;
/// Failed for a reason that none of the others names.
pub const FAILED: u8 = 1;
/// The command line or the input makes no sense; nothing was sent or done.
pub const USAGE: u8 = 2;
/// The stream is at another version, the event's id is taken, or the command is not as it would
/// have to be; nothing was done.
pub const CONFLICT: u8 = 3;
/// No such store, stream or service.
pub const NOT_FOUND: u8 = 4;
/// Nobody answered in time, or nobody leads; try again.
pub const UNAVAILABLE: u8 = 5;
/// Data is damaged.
pub const DAMAGED: u8 = 6;
/// Not allowed.
pub const DENIED: u8 = 7;

/// `verify` found a torn tail and no damage.
pub const TORN_TAIL: u8 = 12;

/// The part of `--help` about exit codes and errors.
pub const HELP: &str = r#"Exit codes:
  0  ok
  1  failed
  2  usage: the command line or the input makes no sense; nothing was done
  3  conflict: the stream is at another version, the id is taken, or the command is unknown, closed
     or dead; nothing was done
  4  not found: no such store, stream or service
  5  unavailable: nobody answered in time, or nobody leads; try again
  6  damaged data
  7  denied
  12  verify has found a torn tail and no damage

Standard output carries data only. Errors go to standard error: as a sentence, or with -o json and
-o ndjson as {"error":{"code","message","retry","outcome","details"}}; "outcome" says whether
what was asked for is certainly "not_done" or "unknown"."#;

/// The exit code of an error.
#[must_use]
pub const fn of(code: ErrorCode) -> u8 {
    use ErrorCode as E;
    match code {
        E::INVALID_ARGUMENT => USAGE,
        E::WRONG_EXPECTED_VERSION | E::CONDITION_FAILED | E::ID_REUSED => CONFLICT,
        E::STREAM_NOT_FOUND | E::STORE_NOT_FOUND | E::STREAM_DELETED | E::SERVICE_NOT_FOUND => {
            NOT_FOUND
        }
        E::NOT_LEADER
        | E::NO_WORKER
        | E::BUSY
        | E::TIMEOUT_UNKNOWN
        | E::INDEX_BEHIND
        | E::STALE_TOPOLOGY
        | E::EXPIRED
        | E::POISONED
        | E::STEPPING_DOWN
        | E::WORKER_LOST => UNAVAILABLE,
        E::CORRUPT | E::BAD_SIGNATURE => DAMAGED,
        E::UNAUTHENTICATED | E::FORBIDDEN => DENIED,
        _ => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_stands_in_the_help() {
        let codes =
            [OK, FAILED, USAGE, CONFLICT, NOT_FOUND, UNAVAILABLE, DAMAGED, DENIED, TORN_TAIL];
        for code in codes {
            assert!(HELP.contains(&format!("\n  {code}  ")), "{code}");
        }
    }

    #[test]
    fn errors_and_their_exit_codes() {
        let rows = [
            (ErrorCode::INTERNAL, 1),
            (ErrorCode::DISK_FULL, 1),
            (ErrorCode::EVENT_TOO_LARGE, 1),
            (ErrorCode::INVALID_ARGUMENT, 2),
            (ErrorCode::WRONG_EXPECTED_VERSION, 3),
            (ErrorCode::ID_REUSED, 3),
            (ErrorCode::STORE_NOT_FOUND, 4),
            (ErrorCode::STREAM_NOT_FOUND, 4),
            (ErrorCode::TIMEOUT_UNKNOWN, 5),
            (ErrorCode::NO_WORKER, 5),
            (ErrorCode::BUSY, 5),
            (ErrorCode::CORRUPT, 6),
            (ErrorCode::BAD_SIGNATURE, 6),
            (ErrorCode::FORBIDDEN, 7),
        ];
        for (code, exit) in rows {
            assert_eq!(of(code), exit, "{}", code.as_str());
        }
    }
}
