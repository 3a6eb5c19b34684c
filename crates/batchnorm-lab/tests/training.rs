//! Training twins on the digits, in runs too short to learn much.

use batchnorm_lab::data::{Access, Dataset};
use batchnorm_lab::networks::{Architecture, Classifier, Init, Norm, Watch};
use batchnorm_lab::train::{
    Arm, Decayed, Metrics, Observer, Optimizer, Point, Run, Schedule, Silent, Statistics, TrainError, Trained,
    TrainedPart,
};
use batchnorm_lab::{Activation, Network, Placement, Settings, Source, train};
use burn::tensor::{Device, Tensor};

fn digits() -> Dataset {
    Source::Digits.load(&mut Access::none()).unwrap()
}

fn defaults() -> Settings {
    Settings::defaults(Source::Digits, Network::Mlp)
}

fn short() -> Settings {
    Settings { steps: 40, layers: vec![20, 20], threads: 1, ..defaults() }
}

fn trained(settings: &Settings) -> Trained {
    train(settings, &digits(), None, &mut Silent).unwrap()
}

fn run(settings: &Settings) -> Metrics {
    trained(settings).metrics
}

fn plain(metrics: &Metrics) -> &Run {
    metrics.runs.of(Arm::Plain).unwrap()
}

fn batch_norm(metrics: &Metrics) -> &Run {
    metrics.runs.of(Arm::BatchNorm).unwrap()
}

/// Everything but times and the number of threads.
fn bits(mut metrics: Metrics) -> String {
    metrics.settings.threads = 0;
    for (_, run) in metrics.runs.all_mut() {
        run.seconds = 0.0;
    }
    metrics.to_json()
}

#[test]
fn the_same_seed_and_options_give_the_same_bits() {
    assert_eq!(bits(run(&short())), bits(run(&short())));
    let other = Settings { seed: 2, ..short() };
    assert_ne!(plain(&run(&short())).curve, plain(&run(&other)).curve);
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
    let config = Architecture { layers: vec![3], ..Architecture::new(Network::Mlp, [1, 2, 2], 2) };
    let device = Device::flex();
    let norm = Some(Norm { eps: 0.0, ..Norm::default() });
    let twin = Architecture { norm, ..config.clone() };
    let images = Tensor::<4>::from_floats([[[[1.0, 2.0], [3.0, 4.0]]], [[[4.0, 1.0], [-3.0, 0.5]]]], &device);
    // In evaluation mode, with mean 0, variance 1 and eps 0, batch normalization is the identity.
    let logits = |architecture: &Architecture, seed| {
        let network = architecture.build(Init::Normal, 1.0, seed, &device).unwrap();
        network.forward(images.clone(), &mut Watch::nothing()).unwrap().into_data()
    };
    assert_eq!(logits(&config, 5), logits(&twin, 5));
    assert_ne!(logits(&config, 5), logits(&config, 6));
}

#[test]
fn the_plain_twin_does_not_depend_on_how_its_brother_is_normalized() {
    // With a learning rate too small to matter, losses are those of the initial weights on the batches drawn.
    let settings = Settings { learning_rate: 1e-30, ..short() };
    let after = Settings { placement: Placement::AfterActivation, ..settings.clone() };
    assert_eq!(plain(&run(&settings)).curve, plain(&run(&after)).curve);
    assert_ne!(batch_norm(&run(&settings)).curve, batch_norm(&run(&after)).curve);
}

#[test]
fn every_evaluation_is_in_the_curve_and_the_last_step_is_evaluated() {
    let metrics = run(&Settings { steps: 25, ..short() });
    for (_, run) in metrics.runs.trained() {
        assert_eq!(run.curve.iter().map(|point| point.step).collect::<Vec<_>>(), [10, 20, 25]);
        assert_eq!(run.final_test_accuracy, run.curve[2].test_accuracy);
        assert_eq!(run.final_test_loss, run.curve[2].test_loss);
        assert!(run.seconds > 0.0);
    }
}

#[test]
fn batch_normalization_is_ahead_after_a_few_steps() {
    let metrics = run(&Settings { steps: 200, layers: vec![100, 100, 100], ..short() });
    let best = |run: &Run| run.best_test_accuracy.unwrap();
    assert!(best(batch_norm(&metrics)) > 0.9, "{}", best(batch_norm(&metrics)));
    assert!(best(plain(&metrics)) < 0.5, "{}", best(plain(&metrics)));
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
    let Trained { metrics, models } = train(&settings, &digits(), None, &mut heard).unwrap();
    let plain = plain(&metrics);
    let step = plain.diverged_at_step.expect("the plain twin diverges");
    assert_eq!(plain.final_test_accuracy, None);
    assert_eq!(
        plain.curve.last(),
        Some(&Point { step, train_loss: None, test_accuracy: None, test_loss: None })
    );
    assert_eq!(heard.0, [(Arm::Plain, step)]);
    assert_eq!(batch_norm(&metrics).curve.last().unwrap().step, 40);
    assert!(!metrics.runs.all_diverged());
    assert_eq!(models.iter().map(|model| model.training.arm).collect::<Vec<_>>(), [Arm::BatchNorm]);
    let json: serde_json::Value = serde_json::from_str(&metrics.to_json()).unwrap();
    assert!(json["runs"]["plain"]["curve"].as_array().unwrap().last().unwrap()["train_loss"].is_null());
    assert_eq!(json["runs"]["plain"]["diverged_at_step"], step);
}

#[test]
fn what_batch_normalization_refuses_ends_its_run_with_the_reason() {
    // Weights of zero make every channel constant.
    let settings = Settings { init_std: 0.0, bn_eps: 0.0, ..short() };
    let metrics = run(&settings);
    assert_eq!(batch_norm(&metrics).diverged_at_step, Some(1));
    assert!(batch_norm(&metrics).failure.as_ref().unwrap().contains("eps > 0"));
    assert_eq!((plain(&metrics).diverged_at_step, &plain(&metrics).failure), (None, &None));
}

#[test]
fn both_may_diverge() {
    let settings = Settings { learning_rate: 1e38, activation: Activation::Relu, ..short() };
    let metrics = run(&settings);
    assert!(metrics.runs.all_diverged(), "{}", metrics.to_json());
    assert!(plain(&metrics).curve.last().unwrap().step < 40);
}

#[test]
fn population_statistics_change_the_final_evaluation_alone() {
    // A momentum so small that the running averages are still those of the beginning.
    let running = Settings { bn_momentum: 1e-6, steps: 100, ..short() };
    let population = Settings { statistics: Statistics::Population, ..running.clone() };
    let (running, population) = (run(&running), run(&population));
    assert_eq!(batch_norm(&running).curve, batch_norm(&population).curve);
    assert_eq!(plain(&running).final_test_accuracy, plain(&population).final_test_accuracy);
    let last = |metrics: &Metrics| batch_norm(metrics).final_test_accuracy.unwrap();
    assert!(last(&population) > last(&running) + 0.2, "{} {}", last(&population), last(&running));
    assert_eq!(batch_norm(&population).best_test_accuracy, batch_norm(&population).final_test_accuracy);
}

#[test]
fn the_gap_between_training_and_inference_is_measured() {
    let metrics = run(&Settings { bn_momentum: 1e-6, steps: 100, ..short() });
    let gap = batch_norm(&metrics).statistics.unwrap();
    let [running, batch, population] =
        [gap.running, gap.batch, gap.population].map(|score| score.accuracy.unwrap());
    assert_eq!(Some(running), batch_norm(&metrics).final_test_accuracy);
    assert!(batch > running + 0.2 && population > running + 0.2, "{running} {batch} {population}");
    assert_eq!(plain(&metrics).statistics, None);
}

#[test]
fn one_twin_can_be_trained_alone_and_does_as_it_does_beside_its_brother() {
    let both = run(&short());
    let alone = |arm| run(&Settings { norms: vec![arm], ..short() });
    let (alone_plain, alone_norm) = (alone(Arm::Plain), alone(Arm::BatchNorm));
    assert_eq!(plain(&alone_plain).curve, plain(&both).curve);
    assert_eq!(batch_norm(&alone_norm).curve, batch_norm(&both).curve);
    assert_eq!(batch_norm(&alone_norm).inputs, batch_norm(&both).inputs);
    assert_eq!((alone_plain.runs.arms(), alone_norm.runs.arms()), (vec![Arm::Plain], vec![Arm::BatchNorm]));
}

#[test]
fn every_layer_has_its_figures() {
    let metrics = run(&short());
    for (arm, run) in metrics.runs.trained() {
        let names: Vec<&str> = run.inputs.iter().map(|inputs| inputs.layer.as_str()).collect();
        assert_eq!(names, ["hidden.0.linear", "hidden.1.linear"]);
        for inputs in &run.inputs {
            assert_eq!(inputs.units, 20);
            assert!(inputs.typical_unit < 20);
            assert_eq!(inputs.points.iter().map(|band| band.step).collect::<Vec<_>>(), [10, 20, 30, 40]);
            for band in &inputs.points {
                assert!(band.p15 <= band.p50 && band.p50 <= band.p85 && (0.0..=1.0).contains(&band.saturated));
            }
        }
        let names: Vec<&str> = run.gradients.iter().map(|gradient| gradient.parameter.as_str()).collect();
        assert_eq!(names, ["hidden.0.linear.weight", "hidden.1.linear.weight", "output.weight"]);
        for gradient in &run.gradients {
            assert_eq!(gradient.points.iter().map(|point| point.step).collect::<Vec<_>>(), [10, 20, 30, 40]);
            assert!(gradient.points.iter().all(|point| point.norm.unwrap() > 0.0));
        }
        assert_eq!(run.norms.len(), if arm == Arm::BatchNorm { 2 } else { 0 });
        for norm in &run.norms {
            assert_eq!(norm.points.len(), 4);
            let last = norm.last.as_ref().unwrap();
            let (mean, variance) = (last.running_mean.as_ref().unwrap(), last.running_var.as_ref().unwrap());
            assert_eq!([last.gamma.len(), last.beta.len(), mean.len(), variance.len()], [20; 4]);
            let most = variance.iter().copied().fold(f32::MIN, f32::max);
            assert_eq!(norm.points[3].running_var.unwrap()[4], f64::from(most));
        }
    }
}

#[test]
fn weight_decay_pulls_weights_and_spares_gamma_unless_asked() {
    // Without a rate worth the name, nothing but decay moves anything; rate x decay is 0.1 a step.
    let decaying = |decayed| Settings {
        learning_rate: 1e-6,
        weight_decay: 1e5,
        decayed,
        norms: vec![Arm::BatchNorm],
        steps: 10,
        ..short()
    };
    let sizes = |settings: &Settings| {
        let tensors = trained(settings).models[0].to_tensors();
        let size = |name: &str| {
            let batchnorm_model::checkpoint::Values::F32(values) = &tensors.get(name).unwrap().values else {
                panic!("{name}")
            };
            values.iter().map(|value| value.abs()).sum::<f32>()
        };
        [size("hidden.0.linear.weight"), size("hidden.0.bn.weight")]
    };
    let none = sizes(&Settings { weight_decay: 0.0, ..decaying(Decayed::Weights) });
    let weights = sizes(&decaying(Decayed::Weights));
    let all = sizes(&decaying(Decayed::All));
    let expected = 0.9_f32.powi(10);
    assert!((weights[0] / none[0] - expected).abs() < 1e-3, "{} {}", weights[0], none[0]);
    assert!((weights[1] / none[1] - 1.0).abs() < 1e-3, "gamma stays");
    assert!((all[1] / none[1] - expected).abs() < 1e-3, "gamma decays when asked to");
}

#[test]
fn every_schedule_trains_and_matters() {
    let curve = |schedule| {
        let settings =
            Settings { schedule, decay_every: 5, decay_factor: 0.5, norms: vec![Arm::BatchNorm], ..short() };
        batch_norm(&run(&settings)).curve.clone()
    };
    let curves: Vec<_> = Schedule::ALL.iter().map(|&schedule| curve(schedule)).collect();
    for (place, one) in curves.iter().enumerate() {
        assert!(one.last().unwrap().train_loss < one[0].train_loss);
        assert!(curves[..place].iter().all(|other| other != one));
    }
}

#[test]
fn pixels_can_be_made_binary_or_standardized() {
    let losses =
        |binarize, standardize| plain(&run(&Settings { binarize, standardize, ..short() })).curve.clone();
    let [as_they_are, binary, standard] =
        [(false, false), (true, false), (false, true)].map(|(b, s)| losses(b, s));
    assert_ne!(as_they_are, binary);
    assert_ne!(as_they_are, standard);
    assert_ne!(binary, standard);
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
                let curve = batch_norm(&run(&settings)).curve.clone();
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
    // Numbers read back are the bits that were written.
    assert_eq!(read, metrics);
    let json: serde_json::Value = serde_json::from_str(&metrics.to_json()).unwrap();
    assert_eq!(json["schema"], 3);
    assert_eq!(json["settings"]["data"], "digits");
    assert_eq!(json["settings"]["ranks"], 1);
    assert_eq!(json["settings"]["bn_momentum"], 0.1);
    assert!(json["runs"]["batch_norm"]["steps_to"].as_object().unwrap().contains_key("0.95"));
}

#[test]
fn settings_that_make_no_sense_are_refused_before_training() {
    let resnet = || Settings::defaults(Source::Digits, Network::Resnet20);
    let cases: [(Settings, &str); 32] = [
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
        (Settings { eval_images: 0, ..short() }, "eval_images"),
        (Settings { weight_decay: -1.0, ..short() }, "weight_decay"),
        (Settings { schedule: Schedule::Step, decay_every: 0, ..short() }, "decay_every"),
        (
            Settings { schedule: Schedule::Exponential, decay_every: 5, decay_factor: 0.0, ..short() },
            "decay_factor",
        ),
        (Settings { binarize: true, standardize: true, ..short() }, "standardize"),
        (Settings { zero_gamma: true, ..short() }, "zero_gamma"),
        (Settings { dropout: 1.0, ..short() }, "dropout"),
        (Settings { dropout: -0.1, ..short() }, "dropout"),
        (Settings { dropout: f64::NAN, ..short() }, "dropout"),
        (Settings { dropout: 0.5, ..resnet() }, "dropout"),
        (Settings { dropout: 0.5, ..Settings::defaults(Source::Digits, Network::Inception) }, "dropout"),
        (Settings { skips: true, ..resnet() }, "skips"),
        (Settings { skips: true, layers: vec![20, 30, 20], ..short() }, "skips"),
        (Settings { trained: TrainedPart::Affine, ..short() }, "train_only"),
        (Settings { width: 3, ..short() }, "width"),
        (Settings { layers: vec![3], ..Settings::defaults(Source::Digits, Network::Vgg) }, "layers"),
        (Settings { width: 0, ..Settings::defaults(Source::Digits, Network::Vgg) }, "width"),
        (Settings::defaults(Source::Digits, Network::Lenet), "network"),
    ];
    for (settings, setting) in cases {
        match train(&settings, &digits(), None, &mut Silent) {
            Err(TrainError::Settings(error)) => assert_eq!(error.setting(), setting, "{error}"),
            other => panic!("{setting}: {other:?}"),
        }
    }
}
