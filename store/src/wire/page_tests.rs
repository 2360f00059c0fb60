//! The dumps of `PROTOCOL.md`, so that the examples on that page are what is sent.

/// The bytes of the dump below a line that is just this title.
pub(super) fn dump(title: &str) -> Vec<u8> {
    let page = include_str!("../../PROTOCOL.md");
    let rows = page.lines().skip_while(|line| *line != title).skip(1);
    let hex = rows.map_while(|row| {
        let offset = row.get(..4)?.trim();
        let is_row = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
        is_row.then(|| row.get(6..53).unwrap())
    });
    let bytes: Vec<u8> = hex
        .flat_map(str::split_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    assert!(!bytes.is_empty(), "the page has no dump {title:?}");
    bytes
}
