//! Runs that are stopped and gone on with.

use std::ops::ControlFlow;
use std::path::Path;

use batchnorm_model::onnx::document::Document;
use batchnorm_model::recalibrate::{
    Method, Options, Outcome, Progress, RecalibrateError, Recalibration, Recalibrator,
};
use batchnorm_model::runtime::Tract;

use crate::models::{Data, batches_of, chain};

/// Runs until it has been asked so many times whether to go on.
fn run(
    document: &Document,
    options: &Options,
    state: &Path,
    stop_at: usize,
) -> Result<Option<Recalibration>, RecalibrateError> {
    let recalibrator = Recalibrator::new(document, options.clone())?;
    let mut asked = 0;
    let mut watch = |_: &Progress| {
        asked += 1;
        if asked > stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let outcome = recalibrator.run(&Tract, &mut Data::labelled(11), Some(state), &mut watch)?;
    Ok(match outcome {
        Outcome::Done(done) => Some(done),
        Outcome::Interrupted => None,
    })
}

#[test]
fn a_run_that_was_stopped_comes_to_the_same_bits() {
    let document = Document::from_bytes(chain(None)).unwrap();
    for method in Method::ALL {
        let folder = tempfile::tempdir().unwrap();
        let (state, out) = (folder.path().join("out.onnx.partial"), folder.path().join("out.onnx"));
        let options = Options { method: *method, ..batches_of(3) };
        let whole = run(&document, &options, &state, usize::MAX).unwrap().unwrap();
        assert!(state.is_file());
        whole.save(&out).unwrap();
        assert!(!state.exists());
        let expected = std::fs::read(&out).unwrap();
        for stop_at in [0, 1, 2, 5] {
            let mut stops = 0;
            let done = loop {
                // The first runs stop after a batch or two, or before any.
                match run(&document, &options, &state, if stops < 4 { stop_at } else { usize::MAX }).unwrap() {
                    Some(done) => break done,
                    None => stops += 1,
                }
                assert!(state.is_file() && stops < 9);
            };
            assert!(stops > 0);
            assert_eq!(done.report, whole.report);
            done.save(&out).unwrap();
            assert_eq!(std::fs::read(&out).unwrap(), expected, "{method:?} {stop_at}");
            assert!(!state.exists());
        }
    }
}

#[test]
fn progress_counts_passes_and_work() {
    let document = Document::from_bytes(chain(None)).unwrap();
    let recalibrator = Recalibrator::new(&document, batches_of(4)).unwrap();
    let mut seen = Vec::new();
    let mut watch = |progress: &Progress| {
        seen.push(*progress);
        ControlFlow::Continue(())
    };
    recalibrator.run(&Tract, &mut Data::labelled(11), None, &mut watch).unwrap();
    let passes: Vec<(usize, u64)> = seen.iter().map(|progress| (progress.pass, progress.seen)).collect();
    let expected: Vec<(usize, u64)> = (1..=4).flat_map(|pass| [0, 4, 8].map(|seen| (pass, seen))).collect();
    assert_eq!(passes, expected);
    assert!(seen.iter().all(|progress| progress.passes == 4 && progress.samples == 11));
    assert!(seen.windows(2).all(|pair| pair[0].share < pair[1].share && pair[1].share < 1.0));
    assert_eq!(recalibrator.plan(11, true).unwrap().passes, 4);
    assert_eq!(recalibrator.plan(11, false).unwrap().passes, 2);
}

#[test]
fn another_runs_state_is_not_gone_on_with() {
    let document = Document::from_bytes(chain(None)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("partial");
    assert!(run(&document, &batches_of(3), &state, 2).unwrap().is_none());
    let before = std::fs::read(&state).unwrap();
    let other = Document::from_bytes(chain(Some(3))).unwrap();
    for (document, options) in [(&document, batches_of(4)), (&other, batches_of(3))] {
        let error = run(document, &options, &state, 2).unwrap_err();
        assert!(matches!(error, RecalibrateError::OtherRun { .. }), "{error:?}");
    }
    assert_eq!(std::fs::read(&state).unwrap(), before);
    for damage in ["", "{}", "[1", &String::from_utf8(before).unwrap()[1..]] {
        std::fs::write(&state, damage).unwrap();
        let error = run(&document, &batches_of(3), &state, 2).unwrap_err();
        assert!(matches!(error, RecalibrateError::State { .. }), "{error:?}");
        assert!(error.to_string().contains("delete it"), "{error}");
    }
}
