//! Tables of times, and of kernels.

use batchnorm_lab::bench::{Case, Measured};

/// A row for each case.
pub fn rows(rows: &[Measured]) -> String {
    let header =
        ["op", "dtype", "layout", "shape", "threads", "time", "GB/s", "roof", "share", "ceiling", "reference"];
    let row = |measured: &Measured| {
        let case = &measured.case;
        vec![
            operation(case),
            case.dtype.to_string(),
            case.layout.to_string(),
            case.extents.to_string(),
            case.threads.to_string(),
            time(measured.time.median),
            format!("{:.1}", measured.gbps(measured.time.median)),
            time(measured.roof.time.median),
            percent(measured.share()),
            percent(case.ceiling()),
            measured.reference_times().map_or("-".to_owned(), times),
        ]
    };
    let mut text = super::aligned(header.map(str::to_owned).to_vec(), rows.iter().map(row).collect());
    text.push('\n');
    text
}

/// The kernels for a case, best first, and the one that runs.
pub fn explanation(case: &Case) -> String {
    let header = ["kernel", "", "why"];
    let explanations = case.explanations();
    let row = |explanation: &batchnorm_lab::bench::Explanation| {
        let word = match (explanation.runs, explanation.fits) {
            (true, _) => "runs",
            (false, true) => "could",
            (false, false) => "no",
        };
        [explanation.kernel, word, &explanation.reason].map(str::to_owned).to_vec()
    };
    let rows = explanations.iter().map(row).collect();
    format!("{case}\n\n{}\n", super::to_the_left(header.map(str::to_owned).to_vec(), rows))
}

fn operation(case: &Case) -> String {
    if case.in_place { format!("{}, in place", case.op) } else { case.op.to_string() }
}

/// `12.3 us`, with three digits.
fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        ..1e-6 => (seconds * 1e9, "ns"),
        ..1e-3 => (seconds * 1e6, "µs"),
        ..1.0 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    let digits = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `12x`.
fn times(times: f64) -> String {
    if times < 10.0 { format!("{times:.1}x") } else { format!("{times:.0}x") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let words = [4.5e-7, 1.234e-5, 0.00842, 0.1234, 2.5].map(time);
        assert_eq!(words, ["450 ns", "12.3 µs", "8.42 ms", "123 ms", "2.50 s"]);
        assert_eq!([0.934, 1.0, 1.207].map(percent), ["93 %", "100 %", "121 %"]);
        assert_eq!([1.26, 31.4].map(times), ["1.3x", "31x"]);
    }
}
