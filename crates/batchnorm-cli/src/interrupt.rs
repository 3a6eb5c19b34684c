//! Ctrl-C, and signals to end: once to stop after the step, twice to stop at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of what was interrupted: 128 and the number of the signal, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// A flag that the first signal sets. The second ends the process.
pub fn flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    let handled = ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
        crate::output::tell("\nstopping here, and keeping what was measured; once more to stop at once");
    });
    if let Err(error) = handled {
        crate::error::warn(&format!("Ctrl-C will lose what follows the last checkpoint: {error}"));
    }
    flag
}
