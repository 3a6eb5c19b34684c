//! The memory that a piece of work takes, measured in a process of its own.

use std::process::{Command, ExitCode, Stdio};

use batchnorm_lab::claims::{Meter, work_in_a_process};

use crate::output;

/// Starts this program again for each measurement.
pub struct OwnProcess;

impl Meter for OwnProcess {
    fn peak_bytes(&self, work: &str) -> Result<u64, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let done = Command::new(program)
            .args(["claims", "measure", work])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("could not start a process: {error}"))?;
        let text = String::from_utf8_lossy(&done.stdout);
        let failure = || String::from_utf8_lossy(&done.stderr).trim().to_owned();
        match done.status.success() {
            true => {
                text.trim().parse().map_err(|_| format!("expected a number of bytes, found `{}`", text.trim()))
            }
            false => Err(failure()),
        }
    }
}

/// Does the work, and prints the most bytes that this process held at once.
pub fn measure(work: &str) -> anyhow::Result<ExitCode> {
    work_in_a_process(work).map_err(anyhow::Error::msg)?;
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|error| anyhow::anyhow!("this system does not say how much memory a process held: {error}"))?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    match kibibytes {
        Some(kibibytes) => output::print(&format!("{}\n", kibibytes * 1024))?,
        None => anyhow::bail!("this system does not say how much memory a process held"),
    }
    Ok(ExitCode::SUCCESS)
}
