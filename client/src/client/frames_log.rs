//! Messages to and from the broker as lines of the log, for those who look for a fault on the way.
//!
//! ```text
//! > REQUEST orders/0 #3 80+412 bytes: 01 00 01 00 01 00 00 …
//! < REPLY orders/0 #3 BUSY 80+31 bytes: …
//! ```

use std::fmt;

use broker::dialect::Header;
use broker::net::Frames;
use bytes::Bytes;

/// The log target of these lines, which have the level `trace`: nothing is formatted unless a
/// logger wants them.
pub const FRAMES_LOG_TARGET: &str = "starlog::frames";

/// Bytes of a message that are shown.
const SHOWN_BYTES: usize = 16;

/// Notes a message that libzmq has taken.
pub(super) fn sent(frames: &Frames) {
    log::trace!(target: FRAMES_LOG_TARGET, "{}", Line { direction: '>', frames });
}

/// Notes a message that has arrived.
pub(super) fn received(frames: &Frames) {
    log::trace!(target: FRAMES_LOG_TARGET, "{}", Line { direction: '<', frames });
}

struct Line<'a> {
    direction: char,
    frames: &'a Frames,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.direction)?;
        let Some(first) = self.frames.first() else {
            // That is how a message with more frames than are ever meant comes off a socket.
            return f.write_str("(too many frames)");
        };
        let header = Header::decode(first);
        match &header {
            Ok(header) => write_header(f, header)?,
            Err(error) => write!(f, "({error})")?,
        }
        let sizes: Vec<String> = self.frames.iter().map(|frame| frame.len().to_string()).collect();
        write!(f, " {} bytes", sizes.join("+"))?;
        // A header was told in words; then the bytes of the body are worth more.
        let shown = self.frames.get(usize::from(header.is_ok()));
        shown.filter(|frame| !frame.is_empty()).map_or(Ok(()), |frame| write_hex(f, frame))
    }
}

fn write_header(f: &mut fmt::Formatter<'_>, header: &Header) -> fmt::Result {
    f.write_str(&format!("{:?}", header.kind).to_uppercase())?;
    if !header.service.is_none() {
        write!(f, " {} #{}", header.service, header.number)?;
    }
    header.code.map_or(Ok(()), |code| write!(f, " {}", code.as_str()))
}

fn write_hex(f: &mut fmt::Formatter<'_>, frame: &Bytes) -> fmt::Result {
    f.write_str(":")?;
    for byte in frame.iter().take(SHOWN_BYTES) {
        write!(f, " {byte:02x}")?;
    }
    f.write_str(if frame.len() > SHOWN_BYTES { " …" } else { "" })
}

#[cfg(test)]
mod tests {
    use broker::dialect::{Kind, ServiceName, SessionId};
    use broker::error_code::ErrorCode;

    use super::*;

    fn line(frames: Frames) -> String {
        Line { direction: '<', frames: &frames }.to_string()
    }

    #[test]
    fn one_line_says_what_a_message_is() {
        let mut header = Header::new(Kind::Reply, SessionId([1; 16]));
        let heartbeat = Header::new(Kind::Heartbeat, SessionId([1; 16]));
        assert_eq!(line(vec![heartbeat.encode().into()]), "< HEARTBEAT 72 bytes");
        header.service = ServiceName::partition("orders", 3).unwrap();
        header.number = 7;
        let empty = vec![header.encode().into(), Bytes::new()];
        assert_eq!(line(empty), "< REPLY orders/3 #7 80+0 bytes");
        let body = Bytes::from_static(&[0, 1, 0xFF]);
        let frames = vec![header.encode().into(), body];
        assert_eq!(line(frames), "< REPLY orders/3 #7 80+3 bytes: 00 01 ff");
        header.code = Some(ErrorCode::BUSY);
        let frames = vec![header.encode().into(), Bytes::from_static(&[7; 17]), Bytes::new()];
        let expected = format!("< REPLY orders/3 #7 BUSY 80+17+0 bytes:{} …", " 07".repeat(16));
        assert_eq!(line(frames), expected);
    }

    #[test]
    fn what_is_no_message_of_ours_is_shown_too() {
        let stray = line(vec![Bytes::from_static(b"\x00A")]);
        assert_eq!(stray, "< (the frame does not start with SLG) 2 bytes: 00 41");
        assert_eq!(line(vec![]), "< (too many frames)");
    }
}
