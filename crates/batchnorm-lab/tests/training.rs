//! Training twins on the digits, in runs too short to learn much.

use batchnorm_lab::networks::{Classifier, MlpConfig};
use batchnorm_lab::train::{Arm, Metrics, Observer, Optimizer, Point, Silent, Statistics, TrainError};
use batchnorm_lab::{Activation, Data, Placement, Settings, train};
use burn::tensor::{Device, Tensor};

fn short() -> Settings {
    Settings { steps: 40, layers: vec![20, 20], threads: 1, ..Settings::defaults(Data::Digits) }
}

fn run(settings: &Settings) -> Metrics {
    train(settings, &mut Silent).unwrap()
}

/// Everything but times and the number of threads.
fn bits(mut metrics: Metrics) -> String {
    metrics.settings.threads = 0;
    metrics.runs.plain.seconds = 0.0;
    metrics.runs.batch_norm.seconds = 0.0;
    metrics.to_json()
}

#[test]
fn the_same_seed_and_options_give_the_same_bits() {
    assert_eq!(bits(run(&short())), bits(run(&short())));
    let other = Settings { seed: 2, ..short() };
    assert_ne!(run(&short()).runs.plain.curve, run(&other).runs.plain.curve);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    // Wide enough for Burn and the engine to use threads at all.
    let wide = Settings { steps: 3, eval_every: 1, layers: vec![512, 512], batch_size: 500, ..short() };
    let one = bits(run(&wide));
    for threads in [2, 3] {
        assert_eq!(bits(run(&Settings { threads, ..wide.clone() })), one);
    }
}

#[test]
fn twins_begin_with_the_same_weights() {
    let config = MlpConfig {
        inputs: 4,
        layers: vec![3],
        classes: 2,
        activation: Activation::Relu,
        init_std: 1.0,
        seed: 5,
        norm: None,
    };
    let device = Device::flex();
    let norm = Some((Placement::BeforeActivation, batchnorm::BatchNormConfig::default().with_eps(0.0)));
    let twin = MlpConfig { norm, ..config.clone() };
    let images = Tensor::<2>::from_floats([[1.0, 2.0, 3.0, 4.0], [4.0, 1.0, -3.0, 0.5]], &device);
    // In evaluation mode, with mean 0, variance 1 and eps 0, batch normalization is the identity.
    let logits = |config: &MlpConfig| config.init(&device).forward(images.clone()).unwrap().into_data();
    assert_eq!(logits(&config), logits(&twin));
    assert_ne!(logits(&config), logits(&MlpConfig { seed: 6, ..config.clone() }));
}

#[test]
fn the_plain_twin_does_not_depend_on_how_its_brother_is_normalized() {
    // With a learning rate too small to matter, losses are those of the initial weights on the batches drawn.
    let settings = Settings { learning_rate: 1e-30, ..short() };
    let after = Settings { placement: Placement::AfterActivation, ..settings.clone() };
    assert_eq!(run(&settings).runs.plain.curve, run(&after).runs.plain.curve);
    assert_ne!(run(&settings).runs.batch_norm.curve, run(&after).runs.batch_norm.curve);
}

#[test]
fn every_evaluation_is_in_the_curve_and_the_last_step_is_evaluated() {
    let metrics = run(&Settings { steps: 25, ..short() });
    for run in [&metrics.runs.plain, &metrics.runs.batch_norm] {
        assert_eq!(run.curve.iter().map(|point| point.step).collect::<Vec<_>>(), [10, 20, 25]);
        assert_eq!(run.percentiles.iter().map(|band| band.step).collect::<Vec<_>>(), [10, 20, 25]);
        assert!(run.percentiles.iter().all(|band| band.p15 <= band.p50 && band.p50 <= band.p85));
        assert_eq!(run.final_test_accuracy, run.curve[2].test_accuracy);
        assert!(run.seconds > 0.0);
    }
    assert!(metrics.typical_unit < 20);
}

#[test]
fn batch_normalization_is_ahead_after_a_few_steps() {
    let metrics = run(&Settings { steps: 200, layers: vec![100, 100, 100], ..short() });
    let best = |run: &batchnorm_lab::train::Run| run.best_test_accuracy.unwrap();
    assert!(best(&metrics.runs.batch_norm) > 0.9, "{}", best(&metrics.runs.batch_norm));
    assert!(best(&metrics.runs.plain) < 0.5, "{}", best(&metrics.runs.plain));
}

#[test]
fn a_twin_that_diverges_stops_alone_and_is_a_result() {
    #[derive(Default)]
    struct Heard(Vec<(Arm, usize)>);
    impl Observer for Heard {
        fn diverged(&mut self, arm: Arm, step: usize) {
            self.0.push((arm, step));
        }
    }
    // Such weights blow every layer up a thousandfold; normalized, they do not.
    let settings =
        Settings { init_std: 1e3, layers: vec![20, 20, 20], activation: Activation::Relu, ..short() };
    let mut heard = Heard::default();
    let metrics = train(&settings, &mut heard).unwrap();
    let plain = &metrics.runs.plain;
    let step = plain.diverged_at_step.expect("the plain twin diverges");
    assert_eq!(plain.final_test_accuracy, None);
    assert_eq!(plain.curve.last(), Some(&Point { step, train_loss: None, test_accuracy: None }));
    assert_eq!(heard.0, [(Arm::Plain, step)]);
    assert_eq!(metrics.runs.batch_norm.curve.last().unwrap().step, 40);
    assert!(!metrics.runs.both_diverged());
    let json: serde_json::Value = serde_json::from_str(&metrics.to_json()).unwrap();
    assert!(json["runs"]["plain"]["curve"].as_array().unwrap().last().unwrap()["train_loss"].is_null());
    assert_eq!(json["runs"]["plain"]["diverged_at_step"], step);
}

#[test]
fn what_batch_normalization_refuses_ends_its_run_with_the_reason() {
    // Weights of zero make every channel constant.
    let settings = Settings { init_std: 0.0, bn_eps: 0.0, ..short() };
    let runs = run(&settings).runs;
    assert_eq!(runs.batch_norm.diverged_at_step, Some(1));
    assert!(runs.batch_norm.failure.unwrap().contains("eps > 0"));
    assert_eq!((runs.plain.diverged_at_step, runs.plain.failure), (None, None));
}

#[test]
fn both_may_diverge() {
    let settings = Settings { learning_rate: 1e38, activation: Activation::Relu, ..short() };
    let metrics = run(&settings);
    assert!(metrics.runs.both_diverged(), "{}", metrics.to_json());
    assert!(metrics.runs.plain.curve.last().unwrap().step < 40);
}

#[test]
fn population_statistics_change_the_final_evaluation_alone() {
    // A momentum so small that the running averages are still those of the beginning.
    let running = Settings { bn_momentum: 1e-6, steps: 100, ..short() };
    let population = Settings { statistics: Statistics::Population, ..running.clone() };
    let (running, population) = (run(&running).runs, run(&population).runs);
    assert_eq!(running.batch_norm.curve, population.batch_norm.curve);
    assert_eq!(running.plain.final_test_accuracy, population.plain.final_test_accuracy);
    let last = |run: &batchnorm_lab::train::Run| run.final_test_accuracy.unwrap();
    assert!(
        last(&population.batch_norm) > last(&running.batch_norm) + 0.2,
        "{} {}",
        last(&population.batch_norm),
        last(&running.batch_norm)
    );
    assert_eq!(population.batch_norm.best_test_accuracy, population.batch_norm.final_test_accuracy);
}

#[test]
fn every_activation_placement_and_optimizer_trains() {
    for &activation in Activation::ALL {
        for &placement in Placement::ALL {
            for (optimizer, sgd_momentum, learning_rate) in
                [(Optimizer::Sgd, 0.0, 0.1), (Optimizer::Sgd, 0.9, 0.05), (Optimizer::Adam, 0.0, 0.01)]
            {
                let settings =
                    Settings { activation, placement, optimizer, sgd_momentum, learning_rate, ..short() };
                let curve = run(&settings).runs.batch_norm.curve;
                let [first, .., last] = &curve[..] else { panic!("{curve:?}") };
                assert!(last.train_loss < first.train_loss, "{activation} {placement} {optimizer} {curve:?}");
            }
        }
    }
}

#[test]
fn metrics_survive_a_round_trip() {
    let metrics = run(&short());
    let read: Metrics = serde_json::from_str(&metrics.to_json()).unwrap();
    assert_eq!(read.settings, metrics.settings);
    let steps_and_accuracies = |metrics: &Metrics| {
        let points = metrics.runs.batch_norm.curve.iter();
        points.map(|point| (point.step, point.test_accuracy)).collect::<Vec<_>>()
    };
    assert_eq!(steps_and_accuracies(&read), steps_and_accuracies(&metrics));
    assert_eq!(read.runs.plain.steps_to, metrics.runs.plain.steps_to);
    let json: serde_json::Value = serde_json::from_str(&metrics.to_json()).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["settings"]["data"], "digits");
    assert_eq!(json["settings"]["ranks"], 1);
    assert_eq!(json["settings"]["bn_momentum"], 0.1);
    assert!(json["runs"]["batch_norm"]["steps_to"].as_object().unwrap().contains_key("0.95"));
}

#[test]
fn settings_that_make_no_sense_are_refused_before_training() {
    let cases: [(Settings, &str); 14] = [
        (Settings { steps: 0, ..short() }, "steps"),
        (Settings { layers: vec![], ..short() }, "layers"),
        (Settings { layers: vec![3, 0], ..short() }, "layers"),
        (Settings { batch_size: 1, ..short() }, "batch_size"),
        (Settings { batch_size: 1438, ..short() }, "batch_size"),
        (Settings { learning_rate: f64::NAN, ..short() }, "learning_rate"),
        (Settings { learning_rate: 0.0, ..short() }, "learning_rate"),
        (Settings { init_std: -1.0, ..short() }, "init_std"),
        (Settings { sgd_momentum: 1.0, ..short() }, "sgd_momentum"),
        (Settings { sgd_momentum: 0.9, optimizer: Optimizer::Adam, ..short() }, "sgd_momentum"),
        (Settings { eval_every: 41, ..short() }, "eval_every"),
        (Settings { threads: 0, ..short() }, "threads"),
        (Settings { bn_eps: -1.0, ..short() }, "bn_eps"),
        (Settings { bn_momentum: f64::INFINITY, ..short() }, "bn_momentum"),
    ];
    for (settings, setting) in cases {
        match train(&settings, &mut Silent) {
            Err(TrainError::Settings(error)) => assert_eq!(error.setting(), setting, "{error}"),
            other => panic!("{setting}: {other:?}"),
        }
    }
}
