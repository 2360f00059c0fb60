//! One command, printed.

use client::command::wire::Info;
use serde::Serialize;

use crate::cli::output::{Alignment, Table, rfc3339};

/// What is known of a command, as it is printed. Times are RFC 3339, in UTC.
#[derive(Debug, Serialize)]
pub struct InfoLine {
    id: String,
    state: &'static str,
    service: String,
    /// The attempt that is under way, or was the last one; 0 before the first.
    attempt: u32,
    attempts_max: u32,
    accepted: String,
    /// When it is to be given to a worker, if that lies ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// Why the last attempt failed, or the command was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl InfoLine {
    /// The printed form.
    pub fn new(info: &Info) -> Self {
        Self {
            id: info.id.to_string(),
            state: info.state.as_str(),
            service: info.service.clone(),
            attempt: info.attempt,
            attempts_max: info.attempts_max,
            accepted: time(info.accepted_ms),
            due: info.due_ms.map(time),
            expires: info.expires_ms.map(time),
            reason: info.reason.clone(),
        }
    }
}

fn time(unix_ms: u64) -> String {
    rfc3339(unix_ms.saturating_mul(1000))
}

/// Commands as columns for people.
pub fn table<'a>(lines: impl IntoIterator<Item = &'a InfoLine>) -> String {
    use Alignment::{Left, Right};
    let mut table = Table::new(&[
        ("COMMAND", Left),
        ("STATE", Left),
        ("SERVICE", Left),
        ("ATTEMPT", Right),
        ("ACCEPTED", Left),
        ("DUE", Left),
        ("EXPIRES", Left),
        ("REASON", Left),
    ]);
    for line in lines {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        table.row([
            line.id.clone(),
            line.state.to_owned(),
            line.service.clone(),
            format!("{}/{}", line.attempt, line.attempts_max),
            line.accepted.clone(),
            or_dash(&line.due),
            or_dash(&line.expires),
            line.reason.clone().unwrap_or_default(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use client::command::CommandId;
    use client::command::wire::CommandState;
    use serde_json::json;

    use super::*;

    fn dead() -> Info {
        Info {
            id: "0190163d8694739baea5966c26f8ad91".parse::<CommandId>().unwrap(),
            state: CommandState::Dead,
            service: "echo".into(),
            attempt: 3,
            attempts_max: 3,
            accepted_ms: 1_700_000_000_001,
            due_ms: None,
            expires_ms: Some(1_700_000_060_001),
            reason: Some("WORKER_LOST: \u{1b}[2J".into()),
        }
    }

    #[test]
    fn a_command_in_json() {
        let expected = json!({
            "id": "0190163D8694739BAEA5966C26F8AD91", "state": "dead", "service": "echo",
            "attempt": 3, "attempts_max": 3, "accepted": "2023-11-14T22:13:20.001000Z",
            "expires": "2023-11-14T22:14:20.001000Z", "reason": "WORKER_LOST: \u{1b}[2J",
        });
        assert_eq!(serde_json::to_value(InfoLine::new(&dead())).unwrap(), expected);
    }

    #[test]
    fn a_reason_cannot_steer_the_terminal() {
        let text = table([&InfoLine::new(&dead())]);
        assert!(text.contains("3/3") && text.contains("WORKER_LOST"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
