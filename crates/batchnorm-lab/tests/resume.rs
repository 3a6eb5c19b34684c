//! Runs that are interrupted, killed and taken up again.

use std::fs;
use std::path::Path;

use batchnorm_lab::data::{Access, Dataset, Source};
use batchnorm_lab::networks::Network;
use batchnorm_lab::train::{
    Arm, Checkpoint, CheckpointError, Keep, Optimizer, Schedule, Silent, TrainError, Trained, go_on, train,
};
use batchnorm_lab::train::{Decayed, Observer, Statistics, TrainedPart};
use batchnorm_lab::{Settings, saved::SavedModel};
use batchnorm_model::checkpoint::{Tensors, Values};

fn digits() -> Dataset {
    Source::Digits.load(&mut Access::none()).unwrap()
}

fn short() -> Settings {
    let defaults = Settings::defaults(Source::Digits, Network::Mlp);
    Settings { steps: 45, layers: vec![20, 20], threads: 1, ..defaults }
}

fn keep(folder: &Path) -> Keep {
    Keep { path: folder.join("checkpoint.safetensors"), every: 7 }
}

/// Stops after a step, as Ctrl-C does.
struct StopAfter(usize);

impl Observer for StopAfter {
    fn wants_to_stop(&mut self) -> bool {
        self.0 -= 1;
        self.0 == 0
    }
}

/// Everything but times: the document, and the bytes of every model.
fn bits(mut trained: Trained) -> (String, Vec<Vec<u8>>) {
    trained.metrics.settings.threads = 0;
    for (_, run) in trained.metrics.runs.all_mut() {
        run.seconds = 0.0;
    }
    let bytes = |model: &SavedModel| model.to_tensors().to_bytes().unwrap();
    (trained.metrics.to_json(), trained.models.iter().map(bytes).collect())
}

fn stopped_and_taken_up(settings: &Settings, after: usize) -> Trained {
    let (data, folder) = (digits(), tempfile::tempdir().unwrap());
    let keep = keep(folder.path());
    let stopped = train(settings, &data, Some(&keep), &mut StopAfter(after)).unwrap();
    assert_eq!(stopped.metrics.interrupted_at_step, Some(after));
    let checkpoint = Checkpoint::read(&keep.path).unwrap();
    assert_eq!(checkpoint.step(), after);
    go_on(&checkpoint, &data, Some(&keep), &mut Silent).unwrap()
}

#[test]
fn a_run_taken_up_again_ends_with_the_bits_of_one_never_interrupted() {
    let cases = [
        short(),
        Settings { optimizer: Optimizer::Adam, learning_rate: 0.01, ..short() },
        Settings { sgd_momentum: 0.9, learning_rate: 0.05, weight_decay: 1e-3, ..short() },
        Settings { weight_decay: 1e-3, decayed: Decayed::All, schedule: Schedule::Cosine, ..short() },
        Settings {
            statistics: Statistics::Population,
            schedule: Schedule::Exponential,
            decay_every: 10,
            ..short()
        },
        Settings { dropout: 0.5, ..short() },
        Settings { dropout: 0.2, skips: true, gap: false, trained: TrainedPart::Output, ..short() },
        Settings {
            norms: vec![Arm::BatchNorm, Arm::LayerNorm],
            trained: TrainedPart::Affine,
            weight_decay: 1e-3,
            decayed: Decayed::All,
            sgd_momentum: 0.9,
            ..short()
        },
    ];
    for settings in cases {
        let whole = bits(train(&settings, &digits(), None, &mut Silent).unwrap());
        for after in [1, 10, 23, 44] {
            assert_eq!(bits(stopped_and_taken_up(&settings, after)), whole, "{after} {settings:?}");
        }
    }
}

#[test]
fn networks_of_every_kind_can_be_taken_up_again() {
    for &network in Network::ALL {
        let defaults = Settings::defaults(Source::Digits, network);
        // LeNet is too deep for images of 8x8.
        let width = defaults.width.min(2);
        let settings = Settings { steps: 4, eval_every: 2, eval_images: 40, width, threads: 1, ..defaults };
        if settings.validate(&digits()).is_err() {
            assert_eq!(network, Network::Lenet);
            continue;
        }
        let whole = bits(train(&settings, &digits(), None, &mut Silent).unwrap());
        assert_eq!(bits(stopped_and_taken_up(&settings, 3)), whole, "{network}");
    }
}

#[test]
fn a_finished_run_goes_on_to_more_steps_as_if_it_had_always_been_longer() {
    let (data, folder) = (digits(), tempfile::tempdir().unwrap());
    let keep = keep(folder.path());
    train(&short(), &data, Some(&keep), &mut Silent).unwrap();
    let checkpoint = Checkpoint::read(&keep.path).unwrap().going_on(Some(80), Some(2)).unwrap();
    let longer = go_on(&checkpoint, &data, Some(&keep), &mut Silent).unwrap();
    let whole = train(&Settings { steps: 80, ..short() }, &data, None, &mut Silent).unwrap();
    assert_eq!(bits(longer), bits(whole));
}

#[test]
fn a_killed_run_loses_at_most_the_steps_since_the_last_checkpoint() {
    /// Never comes back from its step, as a killed process does not.
    struct Killed(usize);
    impl Observer for Killed {
        fn stepped(&mut self, step: usize) {
            assert!(step < self.0, "killed");
        }
    }
    let (data, folder) = (digits(), tempfile::tempdir().unwrap());
    let keep = keep(folder.path());
    let killed = std::panic::catch_unwind(|| train(&short(), &data, Some(&keep), &mut Killed(20)));
    assert!(killed.is_err());
    let checkpoint = Checkpoint::read(&keep.path).unwrap();
    assert_eq!(checkpoint.step(), 14);
    let end = go_on(&checkpoint, &data, Some(&keep), &mut Silent).unwrap();
    assert_eq!(bits(end), bits(train(&short(), &data, None, &mut Silent).unwrap()));
}

#[test]
fn there_is_a_checkpoint_before_the_first_step() {
    struct Killed;
    impl Observer for Killed {
        fn evaluated(&mut self, _: batchnorm_lab::train::Arm, _: &batchnorm_lab::train::Point) {
            panic!("killed");
        }
    }
    let (data, folder) = (digits(), tempfile::tempdir().unwrap());
    let keep = Keep { every: 1000, ..keep(folder.path()) };
    assert!(std::panic::catch_unwind(|| train(&short(), &data, Some(&keep), &mut Killed)).is_err());
    assert_eq!(Checkpoint::read(&keep.path).unwrap().step(), 0);
}

#[test]
fn a_run_whose_twin_diverged_is_taken_up_again() {
    let diverging = Settings {
        init_std: 1e3,
        layers: vec![20, 20, 20],
        activation: batchnorm_lab::networks::Activation::Relu,
        ..short()
    };
    let whole = train(&diverging, &digits(), None, &mut Silent).unwrap();
    assert!(whole.metrics.runs.of(Arm::Plain).unwrap().diverged_at_step.is_some());
    assert_eq!(whole.models.len(), 1);
    assert_eq!(bits(stopped_and_taken_up(&diverging, 30)), bits(whole));
}

#[test]
fn what_does_not_fit_is_told() {
    let (data, folder) = (digits(), tempfile::tempdir().unwrap());
    let keep = keep(folder.path());
    let cosine = Settings { schedule: Schedule::Cosine, ..short() };
    train(&cosine, &data, Some(&keep), &mut StopAfter(10)).unwrap();
    let read = || Checkpoint::read(&keep.path);

    let fewer = read().unwrap().going_on(Some(9), None).unwrap_err();
    assert!(matches!(fewer, CheckpointError::FewerSteps { taken: 10, found: 9 }), "{fewer}");
    let ends = read().unwrap().going_on(Some(90), None).unwrap_err();
    assert!(matches!(ends, CheckpointError::ScheduleEnds { expected: 45, found: 90 }), "{ends}");

    let mut other = digits();
    other.train = other.test.clone();
    let error = go_on(&read().unwrap(), &other, None, &mut Silent).unwrap_err();
    assert!(matches!(error, TrainError::Checkpoint(CheckpointError::OtherData { .. })), "{error}");

    assert_eq!(read().unwrap().belongs_to("cut o"), Ok(()));
    let settings = serde_json::to_value(&cosine).unwrap();
    let metrics = |settings: &serde_json::Value| serde_json::json!({ "settings": settings }).to_string();
    assert_eq!(read().unwrap().belongs_to(&metrics(&settings)), Ok(()));
    let mut of_another = settings.clone();
    of_another["seed"] = 9.into();
    assert_eq!(read().unwrap().belongs_to(&metrics(&of_another)), Err("seed".to_owned()));
    // Absent where it is at its default.
    let mut of_another = settings.clone();
    of_another["dropout"] = 0.5.into();
    assert_eq!(read().unwrap().belongs_to(&metrics(&of_another)), Err("dropout".to_owned()));

    let whole = fs::read(&keep.path).unwrap();
    let edited = String::from_utf8_lossy(&whole).contains("batchnorm.checkpoint.version\":\"2\"");
    assert!(edited, "the version is in the header");
    let place = whole.windows(12).position(|bytes| bytes == b"version\":\"2\"").unwrap();
    let mut newer = whole.clone();
    newer[place + 10] = b'9';
    fs::write(&keep.path, &newer).unwrap();
    assert!(matches!(read(), Err(CheckpointError::Version { .. })), "{:?}", read().map(|_| ()));
    for cut in [0, 5, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&keep.path, &whole[..cut]).unwrap();
        assert!(matches!(read(), Err(CheckpointError::File(_))), "cut at {cut}");
    }
    fs::remove_file(&keep.path).unwrap();
    assert!(matches!(read(), Err(CheckpointError::File(_))));
}

#[test]
fn a_wish_to_stop_ends_the_final_evaluation_too() {
    #[derive(Default)]
    struct StopAtTheEnd(bool);
    impl Observer for StopAtTheEnd {
        fn finishing(&mut self, _what: &str) {
            self.0 = true;
        }
        fn wants_to_stop(&mut self) -> bool {
            self.0
        }
    }
    let (data, folder) = (digits(), tempfile::tempdir().unwrap());
    let keep = keep(folder.path());
    let settings = Settings { statistics: Statistics::Population, ..short() };
    let stopped = train(&settings, &data, Some(&keep), &mut StopAtTheEnd::default()).unwrap();
    assert_eq!(stopped.metrics.interrupted_at_step, Some(45));
    assert_eq!(stopped.models.len(), 2);
    for model in &stopped.models {
        assert_eq!(model.training.statistics, Statistics::Running, "no others were taken");
        assert_eq!(model.training.test_accuracy, None);
    }
    let checkpoint = Checkpoint::read(&keep.path).unwrap();
    let end = go_on(&checkpoint, &data, Some(&keep), &mut Silent).unwrap();
    assert_eq!(end.models[1].training.statistics, Statistics::Population);
    assert_eq!(bits(end), bits(train(&settings, &data, None, &mut Silent).unwrap()));
}

#[test]
fn a_checkpoint_of_more_steps_than_its_run_has_is_refused() {
    let (data, folder) = (digits(), tempfile::tempdir().unwrap());
    let keep = keep(folder.path());
    train(&short(), &data, Some(&keep), &mut StopAfter(10)).unwrap();
    let mut file = Tensors::read(&keep.path).unwrap();
    let head = file.tensors.iter_mut().find(|tensor| tensor.name == "batchnorm.checkpoint").unwrap();
    let Values::U8(bytes) = &mut head.values else { panic!() };
    let text = String::from_utf8(bytes.clone())
        .unwrap()
        .replace("\"step\":10,\"eval", "\"step\":1000000000000,\"eval");
    *bytes = text.into_bytes();
    head.shape = vec![bytes.len()];
    file.write(&keep.path).unwrap();
    let error = Checkpoint::read(&keep.path).unwrap_err();
    assert!(matches!(error, CheckpointError::NotACheckpoint { .. }), "{error}");
    assert!(error.to_string().contains("1000000000000 steps"), "{error}");
}
