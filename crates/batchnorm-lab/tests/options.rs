//! What a run can be told beside its network and its optimizer: dropout, skips, which part is trained, how the final
//! network is scored; and what an observer sees of the networks.

mod fixtures;

use std::collections::BTreeMap;

use batchnorm_lab::data::{Access, Dataset};
use batchnorm_lab::evaluate::{CHUNK, Unwatched, score};
use batchnorm_lab::feed::{Batch, Feed};
use batchnorm_lab::networks::{Architecture, Classifier, Dropout, Init, Model, Watch, state};
use batchnorm_lab::train::{
    Arm, Decayed, Metrics, Observer, Optimizer, Run, Silent, Statistics, Trained, TrainedPart,
};
use batchnorm_lab::{Activation, Network, Settings, Source, report, train};
use batchnorm_model::checkpoint::Values;
use burn::module::Module;
use burn::tensor::Device;
use fixtures::{DIGITS, MNIST, build, every_kind, images};

fn digits() -> Dataset {
    Source::Digits.load(&mut Access::none()).unwrap()
}

fn short() -> Settings {
    let defaults = Settings::defaults(Source::Digits, Network::Mlp);
    Settings { steps: 20, layers: vec![20, 20], threads: 1, ..defaults }
}

fn trained(settings: &Settings) -> Trained {
    train(settings, &digits(), None, &mut Silent).unwrap()
}

fn run(metrics: &Metrics, arm: Arm) -> &Run {
    metrics.runs.of(arm).unwrap()
}

fn logits(network: &Model, dims: [usize; 3], mut watch: Watch) -> Vec<f32> {
    network.forward(images(3, dims, &Device::flex()), &mut watch).unwrap().into_data().try_into_vec().unwrap()
}

/// The values of a network's parameters, by name.
fn parameters(network: &Model) -> Parameters {
    let values = |values| match values {
        Values::F32(values) => Some(values),
        _ => None,
    };
    let all = state(network).into_iter();
    all.filter(|tensor| !tensor.name.contains("running"))
        .filter_map(|tensor| Some((tensor.name, values(tensor.values)?)))
        .collect()
}

// Dropout

#[test]
fn dropout_stands_behind_hidden_linear_layers_and_nowhere_else() {
    for architecture in every_kind(MNIST) {
        let network = build(&architecture, 1, &Device::flex());
        let without = logits(&network, MNIST, Watch::nothing());
        let dropped = logits(&network, MNIST, Watch::dropping(Dropout::new(1.0 - 1e-9, 1, 1)));
        if architecture.network.has_hidden_linear_layers() {
            // Nothing is left of the last hidden layer, and the output's bias is 0.
            assert!(dropped.iter().all(|&logit| logit == 0.0), "{architecture:?}");
        } else {
            assert_eq!(dropped, without);
        }
        let of_none = logits(&network, MNIST, Watch::dropping(Dropout::new(0.0, 1, 1)));
        assert_eq!(of_none, without, "{architecture:?}");
    }
}

#[test]
fn dropout_is_in_training_alone() {
    // With a learning rate too small to matter, all losses are those of the initial weights.
    let without = Settings { learning_rate: 1e-30, bn_momentum: 1e-30, ..short() };
    let with = Settings { dropout: 0.5, ..without.clone() };
    let (with, without) = (trained(&with), trained(&without));
    for arm in [Arm::Plain, Arm::BatchNorm] {
        let curves = [&with, &without].map(|trained| run(&trained.metrics, arm).curve.clone());
        for (with, without) in curves[0].iter().zip(&curves[1]) {
            assert_eq!((with.test_accuracy, with.test_loss), (without.test_accuracy, without.test_loss));
            assert_ne!(with.train_loss, without.train_loss);
        }
        assert_eq!(run(&with.metrics, arm).inputs, run(&without.metrics, arm).inputs);
    }
    // A saved model knows nothing of it.
    assert_eq!(with.models[1].architecture, without.models[1].architecture);
}

#[test]
fn dropout_gives_the_same_bits_alone_beside_others_and_on_any_number_of_threads() {
    let wide =
        Settings { dropout: 0.3, layers: vec![512, 512], batch_size: 500, steps: 3, eval_every: 1, ..short() };
    let together = trained(&wide).metrics;
    for arm in [Arm::Plain, Arm::BatchNorm] {
        let alone = trained(&Settings { norms: vec![arm], threads: 2, ..wide.clone() }).metrics;
        assert_eq!(run(&alone, arm).curve, run(&together, arm).curve, "{arm}");
    }
    let other = trained(&Settings { seed: 2, ..wide.clone() }).metrics;
    assert_ne!(run(&other, Arm::Plain).curve, run(&together, Arm::Plain).curve);
}

#[test]
fn networks_learn_with_dropout() {
    let settings =
        Settings { dropout: 0.2, steps: 300, layers: vec![100, 100], norms: vec![Arm::BatchNorm], ..short() };
    let found = run(&trained(&settings).metrics, Arm::BatchNorm).final_test_accuracy.unwrap();
    assert!(found > 0.9, "{found}");
}

// Skips

#[test]
fn a_layer_as_wide_as_its_input_is_added_to_it() {
    let layers = vec![64, 7, 7];
    let plain =
        Architecture { layers, activation: Activation::Tanh, ..Architecture::new(Network::Mlp, DIGITS, 10) };
    let skipping = Architecture { skips: true, ..plain.clone() };
    let device = Device::flex();
    let [with, without] = [&skipping, &plain].map(|architecture| build(architecture, 1, &device));
    assert_eq!(parameters(&with), parameters(&without));

    // By plain loops in f64; weights are `[outputs, inputs]`, as PyTorch has them.
    let parameters = parameters(&with);
    let linear = |name: &str, x: &[f64]| -> Vec<f64> {
        let bias = &parameters[&format!("{name}.bias")];
        let rows = parameters[&format!("{name}.weight")].chunks_exact(x.len());
        rows.zip(bias)
            .map(|(row, &bias)| {
                row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum::<f64>() + f64::from(bias)
            })
            .collect()
    };
    let pixels: Vec<f32> = images(3, DIGITS, &device).into_data().try_into_vec().unwrap();
    let mut expected = Vec::new();
    for image in pixels.chunks_exact(64) {
        let mut x: Vec<f64> = image.iter().map(|&pixel| f64::from(pixel)).collect();
        for layer in 0..3 {
            let y: Vec<f64> =
                linear(&format!("hidden.{layer}.linear"), &x).into_iter().map(f64::tanh).collect();
            x = if x.len() == y.len() { x.iter().zip(&y).map(|(x, y)| x + y).collect() } else { y };
        }
        expected.extend(linear("output", &x));
    }
    let found = logits(&with, DIGITS, Watch::nothing());
    let largest = expected.iter().fold(0.0f64, |largest, logit| largest.max(logit.abs()));
    let off = found.iter().zip(&expected).fold(0.0f64, |off, (&a, b)| off.max((f64::from(a) - b).abs()));
    // Four maps in f32, of up to 64 terms each.
    assert!(off <= 1e-5 * largest, "{off} of {largest}");
    assert_ne!(found, logits(&without, DIGITS, Watch::nothing()));
}

#[test]
fn a_deep_network_with_skips_learns_where_one_without_does_not() {
    let deep = Settings {
        layers: vec![30; 20],
        activation: Activation::Tanh,
        init_std: 0.05,
        learning_rate: 0.05,
        norms: vec![Arm::Plain],
        steps: 150,
        ..short()
    };
    let accuracy = |skips| {
        let found = trained(&Settings { skips, ..deep.clone() });
        run(&found.metrics, Arm::Plain).final_test_accuracy.unwrap()
    };
    let (with, without) = (accuracy(true), accuracy(false));
    assert!(with > 0.8 && without < 0.3, "{with} {without}");
}

// The part that is trained

/// Whether each parameter of the trained network is another than at the beginning.
fn changed(settings: &Settings, trained: &Trained) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for model in &trained.models {
        let initial =
            model.architecture.build(settings.init, settings.init_std, settings.seed, &Device::flex()).unwrap();
        let initial = parameters(&initial);
        for (name, values) in parameters(&model.network) {
            let changed = initial[&name] != values;
            found.push((name, changed));
        }
    }
    found
}

#[test]
fn what_is_not_trained_stays_as_it_began_and_does_not_decay() {
    let all = |network| Settings {
        steps: 6,
        eval_every: 3,
        eval_images: 40,
        threads: 1,
        weight_decay: 0.1,
        decayed: Decayed::All,
        ..Settings::defaults(Source::Digits, network)
    };
    let of_network = |name: &str| name.starts_with("output") || name.starts_with("fc");
    let of_norm = |name: &str| name.contains("bn") || name.contains("downsample.1");
    let optimizers = [(Optimizer::Sgd, 0.9), (Optimizer::Adam, 0.0)];
    for network in [Network::Mlp, Network::Vgg, Network::Resnet20, Network::Inception] {
        for (optimizer, sgd_momentum) in optimizers {
            let base = Settings { optimizer, sgd_momentum, norms: vec![Arm::BatchNorm], ..all(network) };
            let affine = Settings { trained: TrainedPart::Affine, ..base.clone() };
            for (name, changed) in changed(&affine, &trained(&affine)) {
                assert_eq!(changed, of_norm(&name), "{network} {optimizer} {name}");
            }
            let output = Settings {
                trained: TrainedPart::Output,
                norms: vec![Arm::Plain, Arm::BatchNorm],
                ..base.clone()
            };
            for (name, changed) in changed(&output, &trained(&output)) {
                assert_eq!(changed, of_network(&name), "{network} {optimizer} {name}");
            }
            assert!(
                changed(&base, &trained(&base)).iter().all(|(_, changed)| *changed),
                "{network} {optimizer}"
            );
        }
    }
}

#[test]
fn gradients_are_recorded_of_what_is_not_trained_too() {
    let settings =
        Settings { norms: vec![Arm::BatchNorm], trained: TrainedPart::Affine, steps: 100, ..short() };
    let metrics = trained(&settings).metrics;
    let gradients = &run(&metrics, Arm::BatchNorm).gradients;
    let names: Vec<&str> = gradients.iter().map(|gradient| gradient.parameter.as_str()).collect();
    assert_eq!(names, ["hidden.0.linear.weight", "hidden.1.linear.weight", "output.weight"]);
    assert!(gradients.iter().all(|gradient| gradient.points.len() == 10));
    // The loss falls nevertheless.
    let curve = &run(&metrics, Arm::BatchNorm).curve;
    assert!(curve[9].train_loss < curve[0].train_loss, "{curve:?}");
}

// The last comparison

#[test]
fn without_the_gap_the_final_network_is_scored_with_the_statistics_asked_for() {
    for statistics in [Statistics::Running, Statistics::Population] {
        let with = Settings { statistics, ..short() };
        let without = Settings { gap: false, ..with.clone() };
        let (with, without) = (trained(&with), trained(&without));
        for arm in [Arm::Plain, Arm::BatchNorm] {
            let [with, without] = [&with, &without].map(|trained| run(&trained.metrics, arm));
            assert_eq!(with.final_test_accuracy, without.final_test_accuracy);
            assert_eq!(with.final_test_loss, without.final_test_loss);
            assert_eq!(with.statistics.is_some(), arm == Arm::BatchNorm);
            assert_eq!(without.statistics, None);
        }
        assert_eq!(state(&with.models[1].network), state(&without.models[1].network));
        assert_eq!(without.models[1].training.statistics, statistics);
        let page = report::page(&without.metrics);
        assert!(!page.contains("From training to inference") && page.contains("--no-gap"));
        assert!(!report::headline(&without.metrics).is_empty());
    }
}

#[test]
fn options_at_their_defaults_are_not_in_the_document_and_old_documents_have_them() {
    let document = serde_json::to_value(short()).unwrap();
    for name in ["skips", "dropout", "trained", "gap"] {
        assert!(document.get(name).is_none(), "{name}");
    }
    let read: Settings = serde_json::from_value(document).unwrap();
    assert_eq!(read, short());
    let unusual = Settings { skips: true, dropout: 0.25, trained: TrainedPart::Output, gap: false, ..short() };
    let document = serde_json::to_value(&unusual).unwrap();
    assert_eq!(document["trained"], "output");
    assert_eq!(serde_json::from_value::<Settings>(document).unwrap(), unusual);
}

#[test]
fn the_page_tells_what_is_unusual() {
    let settings = Settings {
        dropout: 0.25,
        skips: true,
        trained: TrainedPart::Affine,
        norms: vec![Arm::BatchNorm, Arm::LayerNorm],
        ..short()
    };
    let page = report::page(&trained(&settings).metrics);
    for words in [
        "--dropout 0.25",
        "--train-only affine",
        "--skips",
        "Only gamma and beta are trained",
        "with dropout, which evaluations are without",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let usual = report::page(&trained(&short()).metrics);
    assert!(!usual.contains("dropout") && !usual.contains("are trained;"));
}

// What an observer sees

type Parameters = BTreeMap<String, Vec<f32>>;

/// Everything an observer is told of networks: the arm, the step, the parameters, the labels of the batch.
#[derive(Default)]
struct Seen {
    steps: Vec<(Arm, usize, Parameters, Vec<u16>)>,
    last: Vec<(Arm, Parameters)>,
    stepped: usize,
    stop_after: Option<usize>,
}

impl Observer for Seen {
    fn before_step(&mut self, arm: Arm, step: usize, network: &Model, batch: &Batch) {
        assert_eq!(step, self.stepped + 1);
        self.steps.push((arm, step, parameters(network), batch.labels().to_vec()));
    }

    fn stepped(&mut self, step: usize) {
        self.stepped = step;
    }

    fn after_last_step(&mut self, arm: Arm, network: &Model) {
        self.last.push((arm, parameters(network)));
    }

    fn wants_to_stop(&mut self) -> bool {
        self.stop_after.is_some_and(|step| self.stepped >= step)
    }
}

#[test]
fn an_observer_sees_every_network_before_each_step_and_after_the_last() {
    let mut seen = Seen::default();
    let settings = Settings { steps: 12, ..short() };
    let whole = train(&settings, &digits(), None, &mut seen).unwrap();
    let order: Vec<(Arm, usize)> = seen.steps.iter().map(|(arm, step, ..)| (*arm, *step)).collect();
    let expected = (1..=12).flat_map(|step| [(Arm::Plain, step), (Arm::BatchNorm, step)]);
    assert_eq!(order, expected.collect::<Vec<_>>());
    for pair in seen.steps.chunks_exact(2) {
        assert_eq!(pair[0].3, pair[1].3, "both see one batch");
        assert_eq!(pair[0].3.len(), 60);
    }
    assert_ne!(seen.steps[0].3, seen.steps[2].3);
    // Before the first step, the initial weights; before the ninth, what eight steps lead to.
    let initial = whole.models[1].architecture.build(Init::Normal, 0.1, 1, &Device::flex()).unwrap();
    assert_eq!(seen.steps[1].2, parameters(&initial));
    let eight = trained(&Settings { steps: 8, eval_every: 8, ..settings });
    for (index, model) in eight.models.iter().enumerate() {
        assert_eq!(seen.steps[16 + index].2, parameters(&model.network));
    }
    let last: Vec<_> =
        whole.models.iter().map(|model| (model.training.arm, parameters(&model.network))).collect();
    assert_eq!(seen.last, last);
}

#[test]
fn an_observer_is_not_shown_what_has_diverged_nor_an_end_that_did_not_come() {
    let diverging =
        Settings { init_std: 1e3, layers: vec![20, 20, 20], activation: Activation::Relu, ..short() };
    let mut seen = Seen::default();
    let metrics = train(&diverging, &digits(), None, &mut seen).unwrap().metrics;
    let end = run(&metrics, Arm::Plain).diverged_at_step.unwrap();
    let plain = seen.steps.iter().filter(|(arm, ..)| *arm == Arm::Plain).count();
    // It diverged in a step that it was about to take, or in the evaluation after one.
    assert_eq!(plain, end);
    assert_eq!(seen.last.iter().map(|(arm, _)| *arm).collect::<Vec<_>>(), [Arm::BatchNorm]);

    let mut seen = Seen { stop_after: Some(5), ..Seen::default() };
    train(&short(), &digits(), None, &mut seen).unwrap();
    assert_eq!((seen.steps.len(), seen.last.len()), (10, 0));
}

#[test]
fn an_observer_may_score_networks_and_changes_no_bit() {
    struct Scoring(Dataset, Vec<Option<f64>>);
    impl Observer for Scoring {
        fn before_step(&mut self, arm: Arm, step: usize, network: &Model, _batch: &Batch) {
            if arm == Arm::BatchNorm && step % 10 == 1 {
                let preprocessing = short().preprocessing(&self.0);
                let test = Feed::new(&self.0.test, self.0.dims, &preprocessing);
                let found = score(&network.valid(), test, 360, CHUNK, None, &mut Unwatched).unwrap();
                self.1.push(found.accuracy);
            }
        }
    }
    let mut scoring = Scoring(digits(), Vec::new());
    let settings = Settings { steps: 21, ..short() };
    let mut watched = train(&settings, &digits(), None, &mut scoring).unwrap().metrics;
    let mut unwatched = trained(&settings).metrics;
    for metrics in [&mut watched, &mut unwatched] {
        metrics.runs.all_mut().for_each(|(_, run)| run.seconds = 0.0);
    }
    assert_eq!(watched, unwatched);
    // Before steps 11 and 21, what the evaluations after steps 10 and 20 found.
    let curve: Vec<_> = run(&watched, Arm::BatchNorm).curve.iter().map(|point| point.test_accuracy).collect();
    assert_eq!(scoring.1[1..], curve[..2]);
}
