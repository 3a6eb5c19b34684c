//! Tables for the terminal.

pub mod bench;
pub mod check;
pub mod claims;
pub mod convert;
pub mod fold;
pub mod inspect;
pub mod recalibrate;

use batchnorm_lab::evaluate::Prediction;
use batchnorm_lab::report;
use batchnorm_lab::train::Metrics;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

/// Of so many classes, the probabilities have a column each; of more, the likeliest are named.
const COLUMNS: usize = 12;
/// The likeliest classes that are named.
const LIKELIEST: usize = 5;

/// The results of all arms, side by side.
pub fn results(metrics: &Metrics) -> String {
    let header = std::iter::once(String::new()).chain(report::columns(metrics));
    let rows =
        report::rows(metrics).into_iter().map(|row| std::iter::once(row.measure).chain(row.values).collect());
    aligned(header.collect(), rows.collect())
}

/// The gap between training and inference, where the batch normalizes.
pub fn gap(metrics: &Metrics) -> Option<String> {
    let report::GapTable { header, rows } = report::gaps(metrics)?;
    let rows = rows.into_iter().map(|row| std::iter::once(row.measure).chain(row.values).collect());
    Some(aligned(header, rows.collect()))
}

/// The probability of each class, or of the likeliest, for every image.
pub fn predictions(classes: &[String], predictions: &[Prediction]) -> String {
    let all = classes.len() <= COLUMNS;
    let mut header = vec!["image".to_owned(), "class".to_owned()];
    match all {
        true => header.extend(classes.iter().cloned()),
        false => header.push("likeliest".to_owned()),
    }
    let row = |prediction: &Prediction| {
        let mut row = vec![prediction.image.clone(), prediction.class.clone()];
        if all {
            row.extend(prediction.probabilities.iter().map(|probability| format!("{probability:.4}")));
        } else {
            let mut order: Vec<usize> = (0..prediction.probabilities.len()).collect();
            order.sort_by(|&a, &b| prediction.probabilities[b].total_cmp(&prediction.probabilities[a]));
            let name = |place: usize| classes.get(place).cloned().unwrap_or_else(|| place.to_string());
            let words = order.iter().take(LIKELIEST);
            let words = words.map(|&place| format!("{} {:.4}", name(place), prediction.probabilities[place]));
            row.push(words.collect::<Vec<_>>().join(", "));
        }
        row
    };
    let mut text = aligned(header, predictions.iter().map(row).collect());
    text.push('\n');
    text
}

/// The first column to the left, the others to the right.
fn aligned(header: Vec<String>, rows: Vec<Vec<String>>) -> String {
    table(header, rows, CellAlignment::Right)
}

/// Every column to the left: for words.
fn to_the_left(header: Vec<String>, rows: Vec<Vec<String>>) -> String {
    table(header, rows, CellAlignment::Left)
}

fn table(header: Vec<String>, rows: Vec<Vec<String>>, others: CellAlignment) -> String {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')))
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(others);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(probabilities: Vec<f64>) -> Prediction {
        let logits = vec![0.0; probabilities.len()];
        Prediction { image: "seven.png".to_owned(), class: "7".to_owned(), label: 7, probabilities, logits }
    }

    #[test]
    fn columns_are_aligned() {
        let text = aligned(
            ["", "without", "with batch normalization"].map(str::to_owned).into(),
            vec![
                ["steps", "500", "40"].map(str::to_owned).into(),
                ["best test accuracy", "96.11 %", "never"].map(str::to_owned).into(),
            ],
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        let end = |line: &str, text: &str| line.find(text).unwrap() + text.len();
        assert_eq!(end(lines[2], "500"), end(lines[3], "96.11 %"));
        assert_eq!(end(lines[2], "40"), end(lines[3], "never"));
        assert!(lines.iter().all(|line| line.trim_end() == *line));
    }

    #[test]
    fn few_classes_have_a_column_each_and_of_many_the_likeliest_are_named() {
        let classes: Vec<String> = (0..20).map(|class| format!("class{class}")).collect();
        let few = predictions(&classes[..3], &[prediction(vec![0.25, 0.7, 0.05])]);
        assert!(few.contains("class2") && few.contains("0.0500"), "{few}");
        let mut probabilities = vec![0.01; 20];
        probabilities[13] = 0.81;
        let many = predictions(&classes, &[prediction(probabilities)]);
        assert!(many.contains("class13 0.8100, class0 0.0100"), "{many}");
    }
}
