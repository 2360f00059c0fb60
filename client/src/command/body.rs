//! The frames that a command carries to its worker, and a reply back.

use std::fmt;

use bytes::Bytes;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use store::event::EVENT_DATA_BYTES_MAX;
use thiserror::Error;

/// Most bytes of a body: what one event holds, less room for its other fields. Each frame counts
/// with [`FRAME_OVERHEAD_BYTES`] besides its content.
pub const BODY_BYTES_MAX: usize = EVENT_DATA_BYTES_MAX - 4096;
/// Most frames of a body.
pub const BODY_FRAMES_MAX: usize = 1024;
/// What MessagePack adds to a frame at most.
const FRAME_OVERHEAD_BYTES: usize = 5;

/// The frames of a command's or reply's body, possibly none, each possibly empty. Its limits were
/// checked when it was made.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct Body(Vec<Bytes>);

/// Why frames are no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyError {
    /// Too many bytes.
    #[error("a body has at most {BODY_BYTES_MAX} bytes: send a reference to larger content")]
    Bytes,
    /// Too many frames.
    #[error("a body has at most {BODY_FRAMES_MAX} frames")]
    Frames,
}

impl Body {
    /// Checks and takes frames.
    ///
    /// # Errors
    /// [`BodyError`] when there are too many of them, or of their bytes.
    pub fn new(frames: Vec<Bytes>) -> Result<Self, BodyError> {
        if frames.len() > BODY_FRAMES_MAX {
            return Err(BodyError::Frames);
        }
        let body = Self(frames);
        if body.bytes() > BODY_BYTES_MAX {
            return Err(BodyError::Bytes);
        }
        Ok(body)
    }

    /// The frames.
    #[must_use]
    pub fn frames(&self) -> &[Bytes] {
        &self.0
    }

    /// The frames themselves.
    #[must_use]
    pub fn into_frames(self) -> Vec<Bytes> {
        self.0
    }

    /// What it counts against [`BODY_BYTES_MAX`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(counted).sum()
    }
}

fn counted(frame: &Bytes) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} frames, {} bytes)", self.0.len(), self.bytes())
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
        for frame in &self.0 {
            sequence.serialize_element(serde_bytes::Bytes::new(frame))?;
        }
        sequence.end()
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BodyVisitor;

        impl<'de> Visitor<'de> for BodyVisitor {
            type Value = Body;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of binary frames")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut frames: A) -> Result<Body, A::Error> {
                // The array's own count is no reason to reserve room.
                let (mut taken, mut bytes) = (Vec::new(), 0);
                while let Some(Frame(frame)) = frames.next_element()? {
                    bytes += counted(&frame);
                    if taken.len() == BODY_FRAMES_MAX {
                        return Err(A::Error::custom(BodyError::Frames));
                    }
                    if bytes > BODY_BYTES_MAX {
                        return Err(A::Error::custom(BodyError::Bytes));
                    }
                    taken.push(frame);
                }
                Ok(Body(taken))
            }
        }

        deserializer.deserialize_seq(BodyVisitor)
    }
}

/// One frame: binary, or text for those whose language makes no difference. Never an array of
/// numbers, which would take many times its size in memory.
struct Frame(Bytes);

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FrameVisitor;

        impl Visitor<'_> for FrameVisitor {
            type Value = Frame;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("binary or text")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Frame, E> {
                Ok(Frame(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Frame, E> {
                Ok(Frame(Bytes::from(bytes)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Frame, E> {
                Ok(Frame(Bytes::copy_from_slice(text.as_bytes())))
            }
        }

        deserializer.deserialize_any(FrameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::pack::{pack, unpack};
    use super::*;

    proptest! {
        #[test]
        fn frames_survive_the_way_there_and_back(
            frames in vec(vec(any::<u8>(), 0..300), 0..9)
        ) {
            let body = Body::new(frames.into_iter().map(Bytes::from).collect()).unwrap();
            prop_assert_eq!(unpack::<Body>(&pack(&body).unwrap()), Ok(body));
        }

        #[test]
        fn random_bytes_are_survived(bytes in vec(any::<u8>(), 0..64)) {
            let _ = unpack::<Body>(&bytes);
        }
    }

    #[test]
    fn limits() {
        let frame = |bytes: usize| Bytes::from(vec![0; bytes]);
        let largest = Body::new(vec![frame(BODY_BYTES_MAX - FRAME_OVERHEAD_BYTES)]).unwrap();
        assert_eq!(unpack::<Body>(&pack(&largest).unwrap()), Ok(largest));
        let larger = vec![frame(BODY_BYTES_MAX - FRAME_OVERHEAD_BYTES), frame(0)];
        assert_eq!(Body::new(larger.clone()), Err(BodyError::Bytes));
        let many = vec![Bytes::new(); BODY_FRAMES_MAX + 1];
        assert_eq!(Body::new(many.clone()), Err(BodyError::Frames));
        for (frames, error) in [(larger, BodyError::Bytes), (many, BodyError::Frames)] {
            let packed = pack(&Body(frames)).unwrap();
            let reason = unpack::<Body>(&packed).unwrap_err().reason;
            assert!(reason.contains(&error.to_string()), "{reason}");
        }
    }

    #[test]
    fn frames_are_binary_or_text() {
        let texts = pack(&["one", ""]).unwrap();
        let body = Body::new(vec![Bytes::from("one"), Bytes::new()]).unwrap();
        assert_eq!(unpack::<Body>(&texts), Ok(body));
        assert!(unpack::<Body>(&pack(&[[1, 2, 3]]).unwrap()).is_err());
        assert!(unpack::<Body>(&pack(&"no array").unwrap()).is_err());
        // An array that says that it has four thousand million elements.
        assert!(unpack::<Body>(&[0xDD, 0xFF, 0xFF, 0xFF, 0xFF, 0xC4, 0]).is_err());
    }
}
