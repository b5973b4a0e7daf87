//! Server-sent events from bytes in any chunking.
//!
//! Owns the framing of the HTML standard (`data`, `event`, comments, CR, LF and CRLF, a byte order
//! mark). Leaves out `id` and `retry`: a model's answer cannot be resumed.

use super::lines::{LONGEST, Oversized};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The `event` field; empty where there was none.
    pub name: String,
    /// The `data` lines, joined with line feeds.
    pub data: String,
}

/// Turns bytes into events. What it holds is bounded.
#[derive(Debug)]
pub struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    after_cr: bool,
    first_line: bool,
    limit: usize,
}

impl Default for Parser {
    fn default() -> Self {
        Self::with_limit(LONGEST)
    }
}

impl Parser {
    /// With another limit on the length of a line, and of the data of one event.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            event: Event::default(),
            has_data: false,
            after_cr: false,
            first_line: true,
            limit,
        }
    }

    /// Takes the next bytes and adds the events that they complete.
    pub fn push(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Oversized> {
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            let (head, tail) = bytes.split_at(end);
            bytes = tail.get(1..).unwrap_or_default();
            if tail.starts_with(b"\r") {
                self.after_cr = bytes.is_empty();
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
            self.fits(self.line.len() + head.len())?;
            if self.line.is_empty() {
                self.end_line(head, events)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(head);
                self.end_line(&line, events)?;
                line.clear();
                self.line = line;
            }
        }
        self.fits(self.line.len() + bytes.len())?;
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// At the end of the stream: an event whose last blank line is missing. A line that was cut off
    /// in its middle is left out.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        self.line.clear();
        self.dispatch(events);
    }

    fn end_line(&mut self, mut line: &[u8], events: &mut Vec<Event>) -> Result<(), Oversized> {
        if std::mem::take(&mut self.first_line) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch(events);
            return Ok(());
        }
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                self.fits(self.event.data.len() + 1 + value.len())?;
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(&String::from_utf8_lossy(value));
            }
            b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
            // A comment has an empty field name; `id`, `retry` and unknown fields say nothing to us.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        let event = std::mem::take(&mut self.event);
        if std::mem::take(&mut self.has_data) {
            events.push(event);
        }
    }

    fn fits(&self, bytes: usize) -> Result<(), Oversized> {
        if bytes > self.limit {
            return Err(Oversized(self.limit));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
