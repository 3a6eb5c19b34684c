//! The page, of runs of every kind.

use batchnorm_lab::data::Source;
use batchnorm_lab::networks::Network;
use batchnorm_lab::report;
use batchnorm_lab::train::{Metrics, Run, Runs, Settings};

#[test]
fn the_page_needs_nothing_but_itself() {
    let settings = Settings::defaults(Source::Digits, Network::Mlp);
    let data = settings.data.about();
    let runs = Runs { plain: Some(Run::default()), batch_norm: None };
    let page =
        report::page(&Metrics { schema: Metrics::SCHEMA, settings, data, interrupted_at_step: None, runs });
    assert!(page.starts_with("<!DOCTYPE html>"));
    for outside in ["src=", "href=", "url(", "@import", "fetch(", "http://"] {
        assert!(!page.contains(outside), "{outside}");
    }
}
