//! `multipart/form-data`, as far as a client sends it.

/// One field: its name, the file name if it is a file, and its content.
pub struct Field {
    pub name: String,
    pub file: Option<String>,
    pub data: Vec<u8>,
}

fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word)
}

fn quoted(head: &str, key: &str) -> Option<String> {
    let (_, rest) = head.split_once(&format!(" {key}=\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// The fields of a body; none if it is no such body.
pub fn fields(content_type: &str, body: &[u8]) -> Option<Vec<Field>> {
    let (_, boundary) = content_type.split_once("boundary=")?;
    let boundary = format!("--{}", boundary.trim_matches('"'));
    let mut rest = body.strip_prefix(boundary.as_bytes())?;
    let next = format!("\r\n{boundary}");
    let mut fields = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let head_ends = find(part, b"\r\n\r\n")?;
        let (head, content) = (&part[..head_ends], &part[head_ends + 4..]);
        let ends = find(content, next.as_bytes())?;
        let head = String::from_utf8_lossy(head);
        fields.push(Field {
            name: quoted(&head, "name")?,
            file: quoted(&head, "filename"),
            data: content[..ends].to_vec(),
        });
        rest = &content[ends + next.len()..];
    }
    rest.starts_with(b"--").then_some(fields)
}
