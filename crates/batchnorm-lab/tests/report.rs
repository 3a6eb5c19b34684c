//! The page, of runs of every kind.

use batchnorm_lab::train::Silent;
use batchnorm_lab::{Activation, Data, Settings, report, train};

fn page(settings: &Settings) -> String {
    report::page(&train(settings, &mut Silent).unwrap())
}

fn short() -> Settings {
    Settings { steps: 20, layers: vec![10], threads: 1, ..Settings::defaults(Data::Digits) }
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = page(&short());
    assert!(page.starts_with("<!DOCTYPE html>"));
    for outside in ["src=", "href=", "url(", "@import", "fetch(", "http://"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn the_page_says_what_was_done_and_whose_data_it_is() {
    let page = page(&short());
    for expected in [
        "CC BY 4.0",
        "batchnorm train <span>--data digits</span>",
        "prefers-color-scheme: dark",
        "15th",
        "50th",
        "85th",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    assert_eq!(page.matches("class=\"chart\"").count(), 4);
}

#[test]
fn a_diverged_run_has_a_page_too() {
    let settings = Settings { learning_rate: 1e38, activation: Activation::Relu, ..short() };
    let page = page(&settings);
    assert!(page.contains("diverged at step"));
    assert!(!page.contains("NaN"));
}

#[test]
fn a_run_of_one_evaluation_has_a_page_too() {
    let page = page(&Settings { steps: 1, eval_every: 1, ..short() });
    assert!(page.contains("<circle"));
}
