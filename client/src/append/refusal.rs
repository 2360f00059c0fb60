//! A store's refusal of one append, turned back into an error with data.

use broker::dialect::{ErrorBody, decode_body};
use broker::error_code::ErrorCode;
use store::event::{EventId, ExpectedVersion, Version};
use store::names::StreamName;
use uuid::Uuid;

use super::AppendError;
use crate::error::Refusal;

/// Reads a refusal. One that lacks the details of its code stays a plain [`AppendError::Refused`].
#[must_use]
pub fn from_refusal(refusal: &store::wire::Refusal) -> AppendError {
    let code = ErrorCode::from_number(refusal.code).unwrap_or(ErrorCode::INTERNAL);
    let body = decode_body::<ErrorBody>(&refusal.body).unwrap_or_default();
    let refusal = Refusal::from_body(code, body);
    let detailed = match code {
        ErrorCode::WRONG_EXPECTED_VERSION => conflict(&refusal),
        ErrorCode::ID_REUSED => ids(&refusal),
        _ => None,
    };
    detailed.unwrap_or(AppendError::Refused(refusal))
}

/// Details: `stream`, `expected` (`none`, `exists` or a number, as text), and `actual`, which is
/// absent if the stream does not exist.
fn conflict(refusal: &Refusal) -> Option<AppendError> {
    let stream = StreamName::try_from(refusal.text("stream")?).ok()?;
    let expected = match refusal.text("expected")? {
        "none" => ExpectedVersion::None,
        "exists" => ExpectedVersion::Exists,
        number => ExpectedVersion::Exact(Version(number.parse().ok()?)),
    };
    let actual = refusal.number("actual").map(Version);
    Some(AppendError::WrongExpectedVersion { stream, expected, actual })
}

/// Details: `ids`, separated by commas.
fn ids(refusal: &Refusal) -> Option<AppendError> {
    let ids = refusal.text("ids")?.split(',').map(|id| Uuid::parse_str(id.trim()).map(EventId));
    Some(AppendError::IdReused { ids: ids.collect::<Result<_, _>>().ok()? })
}

#[cfg(test)]
mod tests {
    use broker::dialect::{Detail, encode_body};

    use super::*;

    fn refusal(code: ErrorCode, body: &ErrorBody) -> store::wire::Refusal {
        store::wire::Refusal { code: code.number(), body: encode_body(body) }
    }

    #[test]
    fn a_conflict_keeps_its_data() {
        let text = |text: &str| Detail::Text(text.to_owned());
        for (expected, actual, as_data) in [
            ("4", Some(6), ExpectedVersion::Exact(Version(4))),
            ("none", Some(1), ExpectedVersion::None),
            ("exists", None, ExpectedVersion::Exists),
        ] {
            let mut body = ErrorBody::new("no")
                .with("stream", text("order-17"))
                .with("expected", text(expected));
            if let Some(actual) = actual {
                body = body.with("actual", Detail::Number(actual));
            }
            let error = from_refusal(&refusal(ErrorCode::WRONG_EXPECTED_VERSION, &body));
            let stream = StreamName::try_from("order-17").unwrap();
            let actual = actual.map(Version);
            let whole = AppendError::WrongExpectedVersion { stream, expected: as_data, actual };
            assert_eq!(error, whole);
        }
    }

    #[test]
    fn ids_and_everything_else() {
        let id = Uuid::from_u128(7);
        let body = ErrorBody::new("no").with("ids", Detail::Text(format!("{id},{id}")));
        let error = from_refusal(&refusal(ErrorCode::ID_REUSED, &body));
        assert_eq!(error, AppendError::IdReused { ids: vec![EventId(id), EventId(id)] });
        let error = from_refusal(&refusal(ErrorCode::DISK_FULL, &ErrorBody::new("full")));
        assert_eq!(error.code(), ErrorCode::DISK_FULL);
        let rubbish = store::wire::Refusal { code: 4, body: bytes::Bytes::from_static(b"\xc1") };
        assert_eq!(from_refusal(&rubbish).code(), ErrorCode::WRONG_EXPECTED_VERSION);
        let later = store::wire::Refusal { code: 999, body: bytes::Bytes::new() };
        assert_eq!(from_refusal(&later).code(), ErrorCode::INTERNAL);
    }
}
