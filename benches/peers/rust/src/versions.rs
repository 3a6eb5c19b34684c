//! The versions of the peers, as Cargo.lock has them.

const LOCK: &str = include_str!("../Cargo.lock");

/// The version of the newest package that a peer consists of.
pub fn of(peer: &str) -> &'static str {
    let package = if peer == "candle" { "candle-nn" } else { peer };
    let named = format!("name = \"{package}\"\n");
    let after = LOCK.rsplit(&named).next().expect("rsplit gives at least one part");
    after.split('"').nth(1).unwrap_or("unknown")
}
