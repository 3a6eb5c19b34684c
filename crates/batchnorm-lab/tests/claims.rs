//! The claims laboratory: kept results, interruptions, any number of threads, other versions.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use batchnorm_lab::Source;
use batchnorm_lab::claims::{
    ALL, Carried, Claim, Document, FILE, Facts, Halt, Request, Results, Spectator, StoreError, Unwatched,
    Verdict, carry_out, estimate, named,
};
use batchnorm_lab::data::{Access, Dataset};

/// A claim of short runs.
fn claim() -> &'static Claim {
    named("learning-rate").unwrap()
}

/// Few enough images for runs of a moment.
fn digits() -> Dataset {
    Source::Digits.load(&mut Access::none()).unwrap().first(None, Some(60))
}

fn request(seeds: usize) -> Request {
    Request { data: Source::Digits, quick: true, seeds: NonZeroUsize::new(seeds).unwrap() }
}

fn run(folder: &Path, seeds: usize, threads: usize, spectator: &dyn Spectator) -> Carried {
    let data = digits();
    let mut results = Results::open(folder, &Facts::of(&data)).unwrap();
    results.ask(&[claim()], &request(seeds)).unwrap();
    carry_out(&[claim()], &request(seeds), &data, results.store(), threads, spectator, None).unwrap()
}

/// Every result but how long it took, in an order of their own: threads finish when they finish.
fn kept(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join(FILE)).unwrap();
    let line = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("seconds");
        value.to_string()
    };
    let mut lines: Vec<String> = text.lines().map(line).collect();
    lines.sort();
    lines
}

/// Stops after so many tasks.
struct Impatient {
    left: AtomicUsize,
    done: AtomicUsize,
}

impl Impatient {
    fn after(tasks: usize) -> Self {
        Self { left: AtomicUsize::new(tasks), done: AtomicUsize::new(0) }
    }
}

impl Spectator for Impatient {
    fn task_done(&self, _seconds: f64) {
        self.done.fetch_add(1, Ordering::Relaxed);
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    }

    fn wants_to_stop(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn an_interrupted_run_goes_on_without_repeating_and_ends_with_the_same_bits() {
    let whole = tempfile::tempdir().unwrap();
    let carried = run(whole.path(), 1, 2, &Unwatched);
    assert!(carried.unfinished.is_empty());
    assert_eq!(carried.judged[0].findings.verdict(), Verdict::NotEnoughData, "one seed is no verdict");
    let tasks = kept(whole.path()).len() - 1;

    let parts = tempfile::tempdir().unwrap();
    let first = Impatient::after(5);
    let stopped = run(parts.path(), 1, 1, &first);
    assert!(stopped.was_stopped() && stopped.judged.is_empty());
    let finished = first.done.into_inner();
    assert!((5..tasks).contains(&finished), "{finished} of {tasks}");
    assert_eq!(kept(parts.path()).len(), finished + 1);

    // The line that a killed run was about to write.
    let file = parts.path().join(FILE);
    let mut text = fs::read_to_string(&file).unwrap();
    text.push_str("{\"task\":\"training\",\"seconds\":0.1,\"sp");
    fs::write(&file, text).unwrap();

    let rest = Impatient::after(usize::MAX);
    let carried = run(parts.path(), 1, 3, &rest);
    assert_eq!(rest.done.into_inner(), tasks - finished, "what was finished is not repeated");
    assert_eq!(kept(parts.path()), kept(whole.path()));
    assert_eq!(carried.judged.len(), 1);

    // Nothing is left to do, and reading gives what computing gave.
    let data = digits();
    let results = Results::read(parts.path()).unwrap();
    assert_eq!(estimate(&[claim()], &request(1), &Facts::of(&data), Some(results.store())).remaining, 0.0);
    let again = results.carried().unwrap();
    let facts = Facts::of(&data);
    assert_eq!(again.document(&facts).claims[0].effect, carried.document(&facts).claims[0].effect);

    // More seeds take the work that is there.
    let more = Impatient::after(0);
    assert!(run(parts.path(), 2, 1, &more).was_stopped());
    let estimate = |seeds| estimate(&[claim()], &request(seeds), &facts, Some(results.store())).remaining;
    assert_eq!(estimate(1), 0.0);
    assert!(estimate(2) > 0.0);
}

#[test]
fn what_was_not_carried_out_is_missing_from_the_report_and_named() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), 1, 1, &Impatient::after(2));
    let results = Results::read(folder.path()).unwrap();
    let carried = results.carried().unwrap();
    assert!(carried.judged.is_empty());
    assert!(matches!(carried.unfinished[0].why, Halt::Missing));
    let index = results.write_report(&carried).unwrap();
    assert!(fs::read_to_string(index).unwrap().contains("learning-rate"));
    let json = fs::read_to_string(folder.path().join("claims.json")).unwrap();
    let document: Document = serde_json::from_str(&json).unwrap();
    assert_eq!((document.schema, document.claims.len()), (1, 0));
}

#[test]
fn results_of_another_version_or_of_other_data_or_damaged_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let facts = Facts::of(&digits());
    drop(Results::open(folder.path(), &facts).unwrap());
    let file = folder.path().join(FILE);
    let text = fs::read_to_string(&file).unwrap();

    let held = Results::open(folder.path(), &facts).unwrap();
    assert!(matches!(Results::open(folder.path(), &facts), Err(StoreError::InUse { .. })));
    assert!(Results::read(folder.path()).is_ok(), "reading disturbs nobody");
    drop(held);

    let other = Facts { fingerprint: "of others".to_owned(), title: "Others".to_owned(), ..facts.clone() };
    let error = Results::open(folder.path(), &other).unwrap_err();
    assert!(matches!(&error, StoreError::OtherData { expected, .. } if expected == "Others"), "{error}");
    assert!(error.to_string().contains("--out"));

    for (found, replaced) in [("\"schema\":1", "\"schema\":7"), ("\"program\":\"", "\"program\":\"99.")] {
        fs::write(&file, text.replace(found, replaced)).unwrap();
        let errors =
            [Results::open(folder.path(), &facts), Results::read(folder.path())].map(Result::unwrap_err);
        for error in errors {
            assert!(matches!(error, StoreError::OtherVersion { .. }), "{error}");
        }
    }
    for broken in ["", "{}\n", "no json\n", &format!("{text}{{\"task\":1}}\n")] {
        fs::write(&file, broken).unwrap();
        assert!(Results::open(folder.path(), &facts).is_err(), "{broken}");
        // It is read, not repaired: nothing of a user's file is lost.
        assert_eq!(fs::read_to_string(&file).unwrap(), broken);
    }
    assert!(matches!(Results::read(&folder.path().join("none")), Err(StoreError::Missing { .. })));
    assert!(matches!(Results::open(&file, &facts), Err(StoreError::NotAFolder { .. })));
}

#[test]
fn every_claim_can_be_planned_on_small_and_on_large_images() {
    let facts = Facts::of(&digits());
    let large = Facts { dims: [3, 32, 32], train: 50_000, test: 10_000, ..facts.clone() };
    for claim in ALL {
        for (facts, quick) in [(&facts, true), (&facts, false), (&large, false)] {
            let request = Request { quick, ..request(5) };
            let found = estimate(&[claim], &request, facts, None);
            assert!(found.seconds > 0.0 && found.seconds.is_finite(), "{}: {found:?}", claim.name);
            assert_eq!(found.remaining, found.seconds);
        }
    }
}

#[test]
fn a_command_names_what_is_not_the_default() {
    let shown = |data: &str, quick, seeds| {
        let data = data.parse().unwrap();
        Request { data, quick, seeds: NonZeroUsize::new(seeds).unwrap() }.command("init")
    };
    assert_eq!(shown("digits", true, 3), "batchnorm claims run init --quick");
    assert_eq!(shown("mnist", false, 5), "batchnorm claims run init --data mnist");
    assert_eq!(shown("my data", false, 4), "batchnorm claims run init --data 'my data' --seeds 4");
}
