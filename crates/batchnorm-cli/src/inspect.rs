//! `batchnorm inspect`.

use std::process::ExitCode;

use batchnorm_lab::inspection::page;
use batchnorm_model::file;
use batchnorm_model::inspect::Inspection;

use crate::arguments::InspectArguments;
use crate::error::Misuse;
use crate::output;
use crate::table::inspect as table;

/// So many names are told where none was the right one.
const NAMES: usize = 8;

pub fn run(arguments: &InspectArguments) -> anyhow::Result<ExitCode> {
    if let Some(found) = arguments.eps.filter(|eps| !(eps.is_finite() && *eps >= 0.0)) {
        return Err(Misuse(format!("expected a number that is not negative for --eps, found {found}")).into());
    }
    let mut inspection = Inspection::open(&arguments.model, arguments.eps)?;
    let all = inspection.layers.len();
    if let Some(pattern) = &arguments.layers {
        let names: Vec<String> = inspection.layers.iter().map(|layer| layer.name.clone()).collect();
        inspection.keep_named(pattern);
        if inspection.layers.is_empty() && all > 0 {
            return Err(Misuse(no_such_layer(pattern, &names)).into());
        }
    }
    let named = inspection.layers.len();
    if arguments.findings {
        inspection.keep_found();
    }
    if let Some(path) = &arguments.html {
        let model = arguments.model.file_name().unwrap_or(arguments.model.as_os_str()).to_string_lossy();
        file::write(path, page(&model, &inspection).as_bytes())?;
    }
    match arguments.json {
        true => output::print(&(inspection.to_json() + "\n"))?,
        false => {
            let mut text = table::inspection(&inspection, named);
            if let Some(path) = &arguments.html {
                text += &format!("page     {}\n", path.display());
            }
            output::print(&text)?;
        }
    }
    Ok(if arguments.strict && inspection.is_wrong() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn no_such_layer(pattern: &str, names: &[String]) -> String {
    let first: Vec<String> = names.iter().take(NAMES).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > NAMES { ", ..." } else { "" };
    format!(
        "no batch-norm layer has a name like `{pattern}`; there are {}{more}. `*` stands for any letters: `*{pattern}*`",
        first.join(", ")
    )
}
