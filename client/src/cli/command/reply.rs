//! `starlog command reply`, and the waiting part of `send`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::error_code::ErrorCode;
use bytes::Bytes;
use client::command::{CommandId, CommandReply, Commands};
use serde::Serialize;

use super::about;
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::ReplyFlags;
use crate::cli::output::printable;
use crate::cli::session::Session;

/// Fetches a reply and prints it.
///
/// # Errors
/// [`Stop`] when there is none.
pub fn run(session: &Session, flags: &ReplyFlags) -> Result<(), Stop> {
    let frames = fetch(&super::commands(session)?, flags.id, flags.wait)?;
    print(session, flags.id, &frames)
}

/// The reply to a command, waited for.
///
/// # Errors
/// [`Failure`] when there is none: not yet, or never.
pub fn fetch(commands: &Commands, id: CommandId, wait: Duration) -> Result<Vec<Bytes>, Failure> {
    match commands.reply(id, wait).map_err(|error| about(error, id))? {
        CommandReply::Done(frames) => Ok(frames),
        CommandReply::Pending => {
            let sentence = "the command has no reply yet: ask again, or longer with --wait";
            let failure = Failure { retry: true, ..Failure::local(ErrorCode::BUSY, sentence) };
            Err(about(failure, id))
        }
    }
}

/// Prints a reply.
///
/// # Errors
/// [`Stop`] when it can't be written.
pub fn print(session: &Session, id: CommandId, frames: &[Bytes]) -> Result<(), Stop> {
    let line = ReplyLine::new(id, frames);
    session.printer().document(&line, || to_table(frames))
}

/// A reply as it is printed.
#[derive(Debug, Serialize)]
struct ReplyLine {
    id: String,
    /// The frames of a reply that is text throughout.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Vec<String>>,
    /// The frames of all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<Vec<String>>,
}

impl ReplyLine {
    fn new(id: CommandId, frames: &[Bytes]) -> Self {
        let text = |frame: &Bytes| std::str::from_utf8(frame).ok().map(str::to_owned);
        let body: Option<Vec<String>> = frames.iter().map(text).collect();
        let base64 = || frames.iter().map(|frame| STANDARD.encode(frame)).collect();
        let body_base64 = body.is_none().then(base64);
        Self { id: id.to_string(), body, body_base64 }
    }
}

/// One line per frame.
fn to_table(frames: &[Bytes]) -> String {
    let line = |frame: &Bytes| match std::str::from_utf8(frame) {
        Ok(text) => format!("{}\n", printable(text)),
        Err(_) => format!("<{} bytes>\n", frame.len()),
    };
    frames.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn replies_in_both_forms() {
        let id: CommandId = "0190163d8694739baea5966c26f8ad91".parse().unwrap();
        let rows: [(&[&'static [u8]], serde_json::Value, &str); 3] = [
            (&[b"done", b""], json!(["done", ""]), "done\n\n"),
            (&[b"\x1b[2J"], json!(["\u{1b}[2J"]), "\\u{1b}[2J\n"),
            (&[b"ok", b"\xff\x00"], json!(["b2s=", "/wA="]), "ok\n<2 bytes>\n"),
        ];
        for (frames, expected, table) in rows {
            let frames: Vec<Bytes> = frames.iter().copied().map(Bytes::from_static).collect();
            let line = serde_json::to_value(ReplyLine::new(id, &frames)).unwrap();
            let is_text = frames.iter().all(|frame| std::str::from_utf8(frame).is_ok());
            let (there, absent) = match is_text {
                true => ("body", "body_base64"),
                false => ("body_base64", "body"),
            };
            assert_eq!((&line[there], line.get(absent)), (&expected, None));
            assert_eq!(line["id"], "0190163D8694739BAEA5966C26F8AD91");
            assert_eq!(to_table(&frames), table);
        }
    }
}
