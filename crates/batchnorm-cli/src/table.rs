//! Tables for the terminal.

use batchnorm_lab::report::Row;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

/// The results of both twins, side by side.
pub fn results(rows: &[Row]) -> String {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')))
        .set_header(["", "without", "with batch normalization"]);
    for row in rows {
        table.add_row([&row.measure, &row.plain, &row.batch_norm]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row = |measure: &str, plain: &str, batch_norm: &str| Row {
            measure: measure.to_owned(),
            plain: plain.to_owned(),
            batch_norm: batch_norm.to_owned(),
        };
        let text = results(&[row("steps", "500", "40"), row("best test accuracy", "96.11 %", "never")]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        let end = |line: &str, text: &str| line.find(text).unwrap() + text.len();
        assert_eq!(end(lines[2], "500"), end(lines[3], "96.11 %"));
        assert_eq!(end(lines[2], "40"), end(lines[3], "never"));
        assert!(lines.iter().all(|line| line.trim_end() == *line));
    }
}
