//! The Titanic Service Protocol (RFC 9) in the body frames of Majordomo.
//!
//! ```text
//! service          request              reply
//! titanic.request  target | body+       200 | id        400 text        500 text
//! titanic.reply    id                   200 | body*     300             400 text        500 text
//! titanic.close    id                   200             400 text        500 text
//! ```
//!
//! A status frame is three digits, and a space and a text where there is one to say.

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

use super::body::{Body, BodyError};
use super::id::{CommandId, CommandIdError};
use super::target::{Target, TargetError};

/// Takes commands in.
pub const REQUEST: &str = "titanic.request";
/// Gives replies out.
pub const REPLY: &str = "titanic.reply";
/// Ends commands.
pub const CLOSE: &str = "titanic.close";
/// All of this and more in MessagePack, see [`wire`](super::wire).
pub const COMMAND: &str = "titanic.command";

/// Longest text of a status that is read, in bytes.
const TEXT_BYTES_MAX: usize = 2048;
const DIGITS: usize = 3;

/// The only codes that RFC 9 knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusCode {
    /// 200.
    Ok,
    /// 300: not yet, ask again later.
    Pending,
    /// 400: asking again will not help; unknown, closed, dead or malformed.
    Unknown,
    /// 500: ask again later.
    Internal,
}

impl StatusCode {
    /// The number that stands in the frame.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Pending => 300,
            Self::Unknown => 400,
            Self::Internal => 500,
        }
    }

    /// The code of a number, if RFC 9 knows it.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        [Self::Ok, Self::Pending, Self::Unknown, Self::Internal]
            .into_iter()
            .find(|code| code.number() == number)
    }
}

/// A status: the first frame of every answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Status {
    /// For programs.
    pub code: StatusCode,
    /// For people; may be empty.
    pub text: String,
}

/// Why frames are no TSP message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TspError {
    /// No target, or no body.
    #[error("send the target service and at least one body frame")]
    Missing,
    /// The target can't be one.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The body has too much.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Not an id, or not only an id.
    #[error("send one frame with the command's id: 32 hexadecimal digits")]
    Id,
    /// An answer whose first frame is no status.
    #[error("an answer begins with 200, 300, 400 or 500")]
    Status,
}

impl TspError {
    /// The status that tells the sender of a request.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::refused(self.to_string())
    }
}

impl From<CommandIdError> for TspError {
    fn from(_: CommandIdError) -> Self {
        Self::Id
    }
}

impl Status {
    /// 200.
    #[must_use]
    pub fn ok() -> Self {
        Self { code: StatusCode::Ok, text: String::new() }
    }

    /// 300.
    #[must_use]
    pub fn pending() -> Self {
        Self { code: StatusCode::Pending, text: "pending".to_owned() }
    }

    /// 400 with a reason.
    #[must_use]
    pub fn refused(text: impl Into<String>) -> Self {
        Self { code: StatusCode::Unknown, text: text.into() }
    }

    /// 500 with a reason.
    #[must_use]
    pub fn internal(text: impl Into<String>) -> Self {
        Self { code: StatusCode::Internal, text: text.into() }
    }

    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        Bytes::from(self.to_string())
    }

    /// The frame as a whole answer.
    #[must_use]
    pub fn frames(&self) -> Vec<Bytes> {
        vec![self.encode()]
    }

    /// Reads a frame. Of a long text the front is kept.
    ///
    /// # Errors
    /// [`TspError::Status`] when it does not begin with a known code.
    pub fn decode(frame: &[u8]) -> Result<Self, TspError> {
        let (digits, rest) = frame.split_at_checked(DIGITS).ok_or(TspError::Status)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(TspError::Status);
        }
        let digits = std::str::from_utf8(digits).map_err(|_| TspError::Status)?;
        let number = digits.parse().map_err(|_| TspError::Status)?;
        let code = StatusCode::from_number(number).ok_or(TspError::Status)?;
        let text = match rest {
            [] => &[][..],
            [b' ', text @ ..] => text.get(..TEXT_BYTES_MAX).unwrap_or(text),
            _ => return Err(TspError::Status),
        };
        Ok(Self { code, text: String::from_utf8_lossy(text).into_owned() })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.as_str() {
            "" => write!(f, "{}", self.code.number()),
            text => write!(f, "{} {text}", self.code.number()),
        }
    }
}

/// Reads the body of a `titanic.request`.
///
/// # Errors
/// [`TspError`], for the sender.
pub fn decode_request(mut frames: Vec<Bytes>) -> Result<(Target, Body), TspError> {
    if frames.len() < 2 {
        return Err(TspError::Missing);
    }
    let target = Target::from_bytes(&frames.remove(0))?;
    Ok((target, Body::new(frames)?))
}

/// Reads the body of a `titanic.reply` or `titanic.close`.
///
/// # Errors
/// [`TspError::Id`], for the sender.
pub fn decode_id(frames: &[Bytes]) -> Result<CommandId, TspError> {
    match frames {
        [id] => Ok(CommandId::parse(id)?),
        _ => Err(TspError::Id),
    }
}

/// The answer to a `titanic.request` whose command is committed.
#[must_use]
pub fn accepted(id: CommandId) -> Vec<Bytes> {
    vec![Status::ok().encode(), Bytes::from(id.to_string())]
}

/// The answer to a `titanic.reply` whose command has one.
#[must_use]
pub fn replied(body: &Body) -> Vec<Bytes> {
    std::iter::once(Status::ok().encode()).chain(body.frames().iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn statuses() {
        let rows = [
            (Status::ok(), "200"),
            (Status::pending(), "300 pending"),
            (Status::refused("closed"), "400 closed"),
            (Status::internal("the store does not answer"), "500 the store does not answer"),
        ];
        for (status, frame) in rows {
            assert_eq!(status.encode(), frame);
            assert_eq!(Status::decode(frame.as_bytes()), Ok(status));
        }
        for wrong in ["", "20", "2000", "201", "404 no", "+20", "200\tx", " 200", "200x", "２００"]
        {
            assert_eq!(Status::decode(wrong.as_bytes()), Err(TspError::Status), "{wrong:?}");
        }
        let long = Status::refused("x".repeat(1_000_000));
        assert_eq!(Status::decode(&long.encode()).unwrap().text.len(), TEXT_BYTES_MAX);
        assert_eq!(Status::decode(b"500 \xFF").unwrap().text, "\u{FFFD}");
    }

    fn frames(frames: &[&[u8]]) -> Vec<Bytes> {
        frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect()
    }

    #[test]
    fn requests() {
        let (target, body) = decode_request(frames(&[b"echo", b"", b"two"])).unwrap();
        assert_eq!(target.as_str(), "echo");
        assert_eq!(body.frames(), frames(&[b"", b"two"]));
        let long = vec![b'x'; 100_000];
        let rows: [(&[&[u8]], TspError); 7] = [
            (&[], TspError::Missing),
            (&[b"echo"], TspError::Missing),
            (&[b"", b"x"], TargetError::Text.into()),
            (&[b"a\0b", b"x"], TargetError::Text.into()),
            (&[b"mmi.service", b"x"], TargetError::Reserved.into()),
            (&[&long, b"x"], TargetError::Text.into()),
            (&[b"echo", &[0; 2 * 1024 * 1024]], BodyError::Bytes.into()),
        ];
        for (request, error) in rows {
            assert_eq!(decode_request(frames(request)), Err(error.clone()));
            assert_eq!(error.status().code, StatusCode::Unknown);
        }
        let many = vec![Bytes::from_static(b"x"); 1026];
        assert_eq!(decode_request(many), Err(BodyError::Frames.into()));
    }

    #[test]
    fn ids() {
        let id = CommandId::new(Uuid::from_u128(0xAB));
        let text = id.to_string();
        assert_eq!(decode_id(&frames(&[text.as_bytes()])), Ok(id));
        assert_eq!(decode_id(&frames(&[text.to_lowercase().as_bytes()])), Ok(id));
        let long = vec![b'0'; 100_000];
        let hostile: [&[&[u8]]; 7] = [
            &[],
            &[b""],
            &[text.as_bytes(), b""],
            &[b"../../../../../../etc/passwd"],
            &[id.as_bytes()],
            &[&long],
            &[b"\xFF\x00"],
        ];
        for frames_of_id in hostile {
            assert_eq!(decode_id(&frames(frames_of_id)), Err(TspError::Id));
        }
    }

    #[test]
    fn answers() {
        let id = CommandId::new(Uuid::from_u128(0xAB));
        let digits = format!("{:0>32}", "AB");
        assert_eq!(accepted(id), frames(&[b"200", digits.as_bytes()]));
        let body = Body::new(frames(&[b"", b"x"])).unwrap();
        assert_eq!(replied(&body), frames(&[b"200", b"", b"x"]));
        assert_eq!(replied(&Body::default()), frames(&[b"200"]));
    }

    proptest! {
        #[test]
        fn random_frames_are_survived(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4)
        ) {
            let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
            if let Ok((target, body)) = decode_request(frames.clone()) {
                prop_assert_eq!(target.as_str().as_bytes(), &frames[0][..]);
                prop_assert_eq!(body.frames(), &frames[1..]);
            }
            if let Ok(id) = decode_id(&frames) {
                prop_assert!(id.to_string().as_bytes().eq_ignore_ascii_case(&frames[0]));
            }
            if let Some(Ok(status)) = frames.first().map(|frame| Status::decode(frame)) {
                prop_assert!(frames[0].starts_with(&status.encode()[..3]));
            }
        }
    }
}
