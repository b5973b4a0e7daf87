//! What a SKILL.md says.
//!
//! Lenient with text (real files are full of mistakes: each one becomes a warning), strict with what
//! grants or starts something.

mod body;
mod fields;
mod frontmatter;

use std::{fmt, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};

use super::permission::Permission;
pub(super) use fields::by_extension;

/// Longest SKILL.md that is read.
pub const LONGEST: usize = 1 << 20;

/// What interprets an executable skill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Runtime {
    Bash,
    Python,
    Node,
}

impl Runtime {
    /// The word in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// Names of the program, the best first.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Bash => &["bash"],
            Self::Python => &["python3", "python"],
            Self::Node => &["node", "nodejs"],
        }
    }
}

/// What must be there besides the skill's own files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Requirements {
    /// Programs.
    pub binaries: Vec<String>,
    /// Files of the skill's folder.
    pub files: Vec<String>,
    /// Variables, from `skills.env` or `skills.secrets` of the configuration.
    pub env: Vec<String>,
}

/// Limits that a skill asks for; the configuration's are the most it gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `metadata.timeoutSec`.
    pub timeout: Option<Duration>,
    /// `metadata.maxOutputKb`.
    pub output_kb: Option<u64>,
    /// `metadata.memoryMb`.
    pub memory_mb: Option<u64>,
}

/// The head of a SKILL.md.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    /// Name as written; the skill's own may differ.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// For lists.
    pub emoji: Option<String>,
    /// Version as written.
    pub version: Option<String>,
    /// Who wrote it.
    pub author: Option<String>,
    /// Where it comes from.
    pub homepage: Option<String>,
    /// License as written.
    pub license: Option<String>,
    /// For lists.
    pub category: Option<String>,
    /// For lists.
    pub tags: Vec<String>,
    /// The program of an executable skill, relative to its folder.
    pub location: Option<String>,
    /// What interprets it, where the manifest or the extension says so.
    pub runtime: Option<Runtime>,
    /// What it asks for.
    pub permissions: Vec<Permission>,
    /// Whether it needs its variables to work at all.
    pub env_required: bool,
    /// What must be there.
    pub requirements: Requirements,
    /// Whether it may run again after a crash in the middle of it.
    pub idempotent: bool,
    /// What it changes in the world, in words.
    pub effects: Vec<String>,
    /// Whether a person is asked before each run.
    pub confirm: bool,
    /// Limits that it asks for.
    pub wanted: Wanted,
    /// Schema of its input.
    pub input_schema: Option<Value>,
    /// Schema of its output.
    pub output_schema: Option<Value>,
    /// `metadata` as written.
    pub metadata: Value,
    /// Keys that we do not know, as written.
    pub other: Map<String, Value>,
}

/// A SKILL.md that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The head.
    pub manifest: Manifest,
    /// The text below it.
    pub body: String,
    /// What is odd about it, for its author.
    pub warnings: Vec<String>,
}

/// Why a SKILL.md cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SKILL.md:{}:{}: {}", self.line, self.column, self.text)
    }
}

/// Reads a SKILL.md in a folder of this name.
///
/// # Errors
/// Where it is too large, says nothing, or asks for something that cannot be understood exactly.
pub fn parse(bytes: &[u8], folder: &str) -> Result<Document, Fault> {
    if bytes.len() > LONGEST {
        let text = format!(
            "the file has {} bytes; at most {LONGEST} are read",
            bytes.len()
        );
        return Err(Fault {
            line: 1,
            column: 1,
            text,
        });
    }
    let mut warnings = Vec::new();
    let text = decode(bytes, &mut warnings);
    let head = frontmatter::split(&text, &mut warnings)?;
    let mut manifest = fields::manifest(&head, &mut warnings)?;
    if manifest.description.is_empty() {
        manifest.description = body::first_paragraph(&head.body).ok_or_else(|| Fault {
            line: 1,
            column: 1,
            text: "there is no description, and no text to take one from".to_owned(),
        })?;
        warnings.push("no `description`: the first paragraph stands for it".to_owned());
    }
    if manifest.description.len() > 1024 {
        let length = manifest.description.chars().count();
        warnings.push(format!(
            "the description has {length} characters; the specification allows 1024"
        ));
    }
    if manifest.name.is_empty() {
        warnings.push(format!("no `name`: the folder's, `{folder}`, is used"));
    } else if manifest.name != folder {
        warnings.push(format!(
            "the name `{}` is not that of the folder, `{folder}`",
            manifest.name
        ));
    }
    if manifest.input_schema.is_none() {
        manifest.input_schema = body::schema(&head.body, "input schema");
    }
    if manifest.output_schema.is_none() {
        manifest.output_schema = body::schema(&head.body, "output schema");
    }
    Ok(Document {
        manifest,
        body: head.body,
        warnings,
    })
}

/// Text without byte order mark, NUL or carriage returns, whatever it was.
fn decode(bytes: &[u8], warnings: &mut Vec<String>) -> String {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        warnings.push("the file is not UTF-8: what cannot be read was replaced".to_owned());
    }
    if !text.contains(['\0', '\r']) {
        return text.into_owned();
    }
    if text.contains('\0') {
        warnings.push("the file holds NUL characters: they were left out".to_owned());
    }
    text.replace('\0', "")
        .replace("\r\n", "\n")
        .replace('\r', "\n")
}

#[cfg(test)]
mod tests;
