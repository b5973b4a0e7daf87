//! Nexflow: a self-hosted personal AI agent in one daemon.
//!
//! The modules are declared in layers: **a module imports only from modules declared above it**
//! (held by `tests/it/tidy.rs`). Read them in this order, or follow one message:
//!
//! 1. a connector ([`connectors`]) turns a platform's update into an `Inbound`;
//! 2. `orchestrator::inbox` commits it, only then is it acknowledged;
//! 3. `orchestrator::lanes` gives each session one turn at a time;
//! 4. `orchestrator::turn` asks a provider ([`providers`]), runs the tools ([`tools`], [`skills`],
//!    [`sandbox`]) that it calls, and commits each step;
//! 5. the finishing transaction writes answer and outbox row together;
//! 6. `orchestrator::deliver` hands the row to the connector it came from.
//!
//! `docs/architecture.md` tells the same with file names and the rules behind it.

// The words everybody uses: no I/O, no locks across await.
pub mod types;

// Mechanisms: know nothing of agents.
pub mod bus;
pub mod fail;
pub mod logging;
pub mod net;
pub mod sandbox;
pub mod store;
pub mod supervisor;

// Markdown in a platform's own form.
pub mod render;

// Families: one trait, one table, one file per kind.
pub mod connectors;
pub mod providers;
pub mod skills;
pub mod memory;
pub mod schedule;
pub mod policy;
pub mod tools;
pub mod budget;

// The agent.
pub mod orchestrator;

// Faces.
pub mod api;

// The whole.
pub mod config;
pub mod app;
pub mod bench;
pub mod cli;
#[cfg(fuzzing)]
pub mod fuzzing;
