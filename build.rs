//! Chooses which pages go into the binary: the built UI, or a page that says how to build it.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script is configured by its environment"
)]

use std::{env, path::Path};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".to_owned());
    let built = Path::new(&root).join("web/dist");
    let pages = if built.join("index.html").is_file() {
        built
    } else {
        Path::new(&root).join("web/placeholder")
    };
    println!("cargo::rustc-env=NEXFLOW_PAGES={}", pages.display());
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-changed=web/placeholder");
    println!("cargo::rerun-if-changed=skills");
    println!("cargo::rerun-if-changed=migrations");
}
