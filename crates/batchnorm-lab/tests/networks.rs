//! Every network: its twins, its layers, its steps.

use batchnorm_lab::networks::{
    Activation, Architecture, ArchitectureError, Classifier, Init, Model, Network, Norm, Placement, Watch,
    state,
};
use burn::module::{Module, ModuleVisitor, Param, list_param_ids};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor};

mod fixtures;
use fixtures::{CIFAR, DIGITS, MNIST, build, every_kind, every_variant, images, loss, plain, small, step};

/// The bits of every parameter and running statistic.
fn bits(network: &Model) -> Vec<u32> {
    struct Bits(Vec<u32>);
    impl ModuleVisitor for Bits {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>().map(f32::to_bits));
        }
    }
    let mut bits = Bits(Vec::new());
    network.visit(&mut bits);
    bits.0
}

#[test]
fn every_network_takes_small_and_large_images_in_training_and_evaluation() {
    for dims in [DIGITS, MNIST, CIFAR, [2, 13, 17], [1, 1, 1]] {
        for architecture in every_kind(dims) {
            if architecture.network == Network::Lenet && dims[1] < 12 {
                continue;
            }
            for device in [Device::flex(), Device::flex().autodiff()] {
                let network = build(&architecture, 1, &device);
                let logits = network.forward(images(3, dims, &device), &mut Watch::nothing()).unwrap();
                assert_eq!(logits.dims(), [3, 10], "{architecture:?}");
                assert!(logits.into_data().iter::<f32>().all(f32::is_finite), "{architecture:?}");
            }
        }
    }
}

#[test]
fn twins_begin_with_the_same_weights() {
    // In evaluation mode, with mean 0, variance 1 and eps 0, batch normalization is the identity.
    let device = Device::flex();
    for &network in Network::ALL {
        for &placement in Placement::ALL {
            let twin = small(network, MNIST);
            let twin = Architecture { placement, norm: Some(Norm { eps: 0.0, ..Norm::default() }), ..twin };
            let logits = |architecture: &Architecture, seed| {
                let network = build(architecture, seed, &device);
                network.forward(images(2, MNIST, &device), &mut Watch::nothing()).unwrap().into_data()
            };
            assert_eq!(logits(&twin, 5), logits(&plain(&twin), 5), "{network} {placement}");
            assert_ne!(logits(&twin, 5), logits(&twin, 6), "{network} {placement}");
        }
    }
}

#[test]
fn the_plain_twin_does_not_depend_on_where_its_brother_is_normalized() {
    let device = Device::flex();
    for &network in Network::ALL {
        let [before, after] = [Placement::BeforeActivation, Placement::AfterActivation]
            .map(|placement| Architecture { placement, norm: None, ..small(network, MNIST) });
        assert_eq!(state(&build(&before, 1, &device)), state(&build(&after, 1, &device)), "{network}");
        let logits = |architecture: &Architecture| {
            let network = build(architecture, 1, &device);
            network.forward(images(2, MNIST, &device), &mut Watch::nothing()).unwrap().into_data()
        };
        assert_eq!(logits(&before), logits(&after), "{network}");
    }
}

#[test]
fn a_map_before_its_norm_has_no_bias_and_every_other_one_has() {
    for architecture in every_kind(MNIST) {
        let names: Vec<String> =
            state(&build(&architecture, 1, &Device::flex())).into_iter().map(|tensor| tensor.name).collect();
        let before = architecture.norm.is_some() && architecture.placement == Placement::BeforeActivation;
        for name in names.iter().filter_map(|name| name.strip_suffix(".weight")) {
            let norm = names.contains(&format!("{name}.running_mean"));
            let last = ["output", "fc"].contains(&name);
            // A norm follows the shortcut wherever the others stand.
            let shortcut = architecture.norm.is_some() && name.ends_with("downsample.0");
            let bias = norm || last || !(before || shortcut);
            assert_eq!(names.contains(&format!("{name}.bias")), bias, "{name} of {architecture:?}");
        }
    }
}

#[test]
fn norms_and_watched_layers_come_in_forward_order_under_the_states_names() {
    for architecture in every_kind(MNIST) {
        let device = Device::flex().autodiff();
        let network = build(&architecture, 1, &device);
        let tensors = state(&network);
        let place = |name: &str| {
            let weight = format!("{name}.weight");
            tensors.iter().position(|tensor| tensor.name == weight).unwrap_or_else(|| panic!("{name}"))
        };
        let mut watch = Watch::activations();
        network.forward(images(3, MNIST, &device), &mut watch).unwrap();
        let seen = watch.into_seen();
        let mut last = 0;
        for seen in &seen {
            let [batch, units, _] = seen.values.dims();
            let weight = &tensors[place(&seen.layer)];
            assert_eq!([batch, units], [3, weight.shape[0]], "{}", seen.layer);
            assert!(!seen.values.device().is_autodiff());
            assert!(place(&seen.layer) >= last, "{}", seen.layer);
            last = place(&seen.layer);
        }
        let norms = network.norms();
        let shortcuts = if architecture.network == Network::Resnet20 { 2 } else { 0 };
        let expected = if architecture.norm.is_some() { seen.len() + shortcuts } else { 0 };
        assert_eq!(norms.len(), expected, "{architecture:?}");
        for (name, norm) in norms {
            assert_eq!(tensors[place(&name)].shape, [norm.channels()], "{name}");
            // Every one took part in the forward pass.
            assert_eq!(norm.num_batches_tracked(), 1, "{name}");
        }
    }
}

#[test]
fn watching_changes_no_bit() {
    let device = Device::flex().autodiff();
    for architecture in every_kind(DIGITS).filter(|architecture| architecture.network != Network::Lenet) {
        let gradients = |mut watch: Watch| {
            let network = build(&architecture, 1, &device);
            let logits = network.forward(images(4, DIGITS, &device), &mut watch).unwrap();
            let gradients = logits.powi_scalar(2).sum().backward();
            struct Collect<'a>(&'a burn::tensor::Gradients, Vec<Option<Vec<f32>>>);
            impl ModuleVisitor for Collect<'_> {
                fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                    let gradient = param.val().grad(self.0);
                    self.1.push(gradient.map(|gradient| gradient.into_data().try_into_vec().unwrap()));
                }
            }
            let mut collect = Collect(&gradients, Vec::new());
            network.visit(&mut collect);
            (collect.1, bits(&network))
        };
        assert_eq!(gradients(Watch::nothing()), gradients(Watch::activations()), "{architecture:?}");
    }
}

#[test]
fn a_few_steps_lower_the_loss() {
    for &activation in Activation::ALL {
        for architecture in every_kind(MNIST)
            .chain(every_variant(MNIST))
            .map(|architecture| Architecture { activation, ..architecture })
        {
            let mut network = architecture.build(Init::Xavier, 0.0, 1, &Device::flex().autodiff()).unwrap();
            let mut sgd = SgdConfig::new().init();
            let mut losses = Vec::new();
            for _ in 0..4 {
                let loss;
                (network, loss) = step(network, &mut sgd, 6, MNIST, 0.05);
                losses.push(loss);
            }
            assert!(losses[3] < losses[0], "{architecture:?} {losses:?}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for &network in Network::ALL {
        // Of default width, so that there is something to share.
        let architecture =
            Architecture { norm: Some(Norm::default()), ..Architecture::new(network, MNIST, 10) };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut network = build(&architecture, 1, &Device::flex().autodiff());
                let mut sgd = SgdConfig::new().init();
                for _ in 0..2 {
                    (network, _) = step(network, &mut sgd, 64, MNIST, 0.05);
                }
                bits(&network)
            })
        };
        assert_eq!(run(1), run(2), "{network}");
    }
}

#[test]
fn a_saved_optimizer_goes_on_with_a_rebuilt_network() {
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let optimizers: [fn(MomentumConfig) -> ModuleOptimizer; 2] =
        [|momentum| SgdConfig::new().with_momentum(Some(momentum)).init(), |_| AdamConfig::new().init()];
    let device = Device::flex().autodiff();
    for architecture in every_kind(DIGITS).filter(|architecture| architecture.network != Network::Lenet) {
        for optimizer in optimizers {
            let new = || optimizer(momentum.clone());
            let mut first = new();
            let mut network = build(&architecture, 1, &device);
            for _ in 0..2 {
                (network, _) = step(network, &mut first, 6, DIGITS, 0.01);
            }
            let saved = first.into_bytes().unwrap();
            let tensors = state(&network);
            let (through, _) = step(network, &mut first, 6, DIGITS, 0.01);

            // From other weights: those loaded are what counts.
            let network = build(&architecture, 7, &device);
            let network = batchnorm_lab::networks::load_state(network, &tensors).unwrap();
            let mut second = new().from_bytes(saved).unwrap();
            let (resumed, _) = step(network, &mut second, 6, DIGITS, 0.01);
            assert_eq!(bits(&through), bits(&resumed), "{architecture:?}");
            // And it is the optimizer's state that did it.
            let network =
                batchnorm_lab::networks::load_state(build(&architecture, 7, &device), &tensors).unwrap();
            let (fresh, _) = step(network, &mut new(), 6, DIGITS, 0.01);
            assert_ne!(bits(&through), bits(&fresh), "{architecture:?}");
        }
    }
}

#[test]
fn parameters_have_the_same_ids_in_every_network_of_an_architecture() {
    struct Trained(Vec<u64>);
    impl ModuleVisitor for Trained {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.val().is_require_grad() {
                self.0.push(param.id.val());
            }
        }
    }
    let device = Device::flex().autodiff();
    let ids = |network: &Model| {
        let mut trained = Trained(Vec::new());
        network.visit(&mut trained);
        trained.0
    };
    for architecture in every_kind(MNIST) {
        let network = build(&architecture, 1, &device);
        let own = ids(&network);
        assert!(own.is_sorted_by(|a, b| a < b), "{own:?}");
        assert_eq!(own, ids(&build(&architecture, 2, &device)));
        let mut all = list_param_ids(&network);
        let number = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), number, "{architecture:?}");
    }
}

#[test]
fn a_residual_block_with_gamma_zero_begins_as_its_shortcut() {
    let device = Device::flex().autodiff();
    let architecture = Architecture { zero_gamma: true, ..small(Network::Resnet20, MNIST) };
    let network = build(&architecture, 1, &device);
    let zeros = |name: &str| {
        let tensors = state(&network);
        let tensor = tensors.iter().find(|tensor| tensor.name == name).unwrap();
        let batchnorm_model::checkpoint::Values::F32(values) = &tensor.values else { panic!("{name}") };
        values.iter().all(|&value| value == 0.0)
    };
    for (stage, block) in (1..=3).flat_map(|stage| (0..3).map(move |block| (stage, block))) {
        assert!(zeros(&format!("layer{stage}.{block}.bn2.weight")));
        assert!(!zeros(&format!("layer{stage}.{block}.bn1.weight")));
    }
    assert!(!zeros("layer2.0.downsample.1.weight"));
    // What enters the last ReLU of a block is then the block's input: what left the one before.
    let mut watch = Watch::activations();
    network.forward(images(2, MNIST, &device), &mut watch).unwrap();
    let seen = watch.into_seen();
    let values = |layer: &str| {
        let seen = seen.iter().find(|seen| seen.layer == layer).unwrap();
        burn::tensor::activation::relu(seen.values.clone()).into_data()
    };
    assert_eq!(values("layer1.1.conv2"), values("conv1"));
    assert_eq!(values("layer3.2.conv2"), values("layer3.0.conv2"));
    // It learns gamma, and through it all else.
    let before = loss(&network, 6, MNIST, &device).into_scalar::<f32>();
    let mut sgd = SgdConfig::new().init();
    let (network, _) = step(network, &mut sgd, 6, MNIST, 0.05);
    let (network, _) = step(network, &mut sgd, 6, MNIST, 0.05);
    assert!(loss(&network, 6, MNIST, &device).into_scalar::<f32>() < before);
}

#[test]
fn architectures_of_which_there_is_no_network_are_refused() {
    use ArchitectureError as E;
    let mlp = small(Network::Mlp, DIGITS);
    let vgg = small(Network::Vgg, DIGITS);
    let resnet = small(Network::Resnet20, DIGITS);
    let huge = usize::MAX / 2;
    let cases = [
        (Architecture { dims: [1, 0, 8], ..mlp.clone() }, "at least 1 channel"),
        (Architecture { classes: 1, ..mlp.clone() }, "at least 2 classes, found 1"),
        (Architecture { layers: vec![], ..mlp.clone() }, "at least one hidden layer"),
        (Architecture { layers: vec![3, 0], ..mlp.clone() }, "at least one unit each, found [3, 0]"),
        (Architecture { layers: vec![huge], ..mlp.clone() }, "at most 65536 units"),
        (Architecture { layers: vec![65536, 65536], ..mlp.clone() }, "268435456 weights"),
        (Architecture { dims: [huge, huge, 2], ..mlp.clone() }, "268435456 weights"),
        (Architecture { classes: 100_000, ..mlp.clone() }, "at most 65536 units"),
        (Architecture { width: 3, ..mlp.clone() }, "no width, found width 3"),
        (Architecture { zero_gamma: true, ..mlp.clone() }, "`mlp` has no residual blocks"),
        (
            Architecture { skips: true, ..resnet.clone() },
            "found `resnet20`; leave skips out, its blocks have their own",
        ),
        (
            Architecture { skips: true, layers: vec![100, 50], ..mlp.clone() },
            "found 64 values per image and hidden layers [100, 50]",
        ),
        (Architecture { layers: vec![9], ..vgg.clone() }, "layers of `vgg` follow from its width"),
        (Architecture { width: 0, ..vgg.clone() }, "1 to 512 channels in the first stage of `vgg`, found 0"),
        (Architecture { width: 513, ..vgg.clone() }, "found 513"),
        (Architecture { dims: [1, 9999, 9999], ..vgg.clone() }, "`vgg` with width 4 on images of 1x9999x9999"),
        (small(Network::Lenet, [1, 28, 11]), "`lenet` takes images of at least 12x12 pixels, found 28x11"),
        (
            Architecture { zero_gamma: true, placement: Placement::AfterActivation, ..resnet.clone() },
            "before the activation",
        ),
        (Architecture { norm: Some(Norm { eps: -1.0, ..Norm::default() }), ..resnet.clone() }, "eps"),
    ];
    for (architecture, words) in cases {
        let error = architecture.build(Init::He, 0.0, 1, &Device::flex()).unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    let error = mlp.build(Init::Normal, f64::NAN, 1, &Device::flex()).unwrap_err();
    assert!(matches!(error, E::InitStd { .. }));
    let untracked = batchnorm::BatchNormConfig::default().with_running_statistics(false);
    assert!(mlp.build_with(untracked, Init::He, 0.0, 1, &Device::flex()).is_err());
}

#[test]
fn norm_layers_are_where_the_built_network_has_them() {
    let device = Device::flex().autodiff();
    for dims in [DIGITS, MNIST, CIFAR, [2, 13, 17], [1, 1, 1]] {
        let normalized = every_kind(dims).filter(|architecture| architecture.norm.is_some());
        for architecture in normalized.filter(|architecture| architecture.validate().is_ok()) {
            let mut network = build(&architecture, 1, &device);
            let mut watch = Watch::activations();
            network.forward(images(3, dims, &device), &mut watch).unwrap();
            let layers = architecture.norm_layers();
            let found: Vec<(String, usize)> =
                network.norms().into_iter().map(|(name, norm)| (name, norm.channels())).collect();
            let expected: Vec<_> = layers.iter().map(|layer| (layer.name.clone(), layer.channels)).collect();
            assert_eq!(found, expected, "{architecture:?}");
            assert_eq!(network.norms_mut().len(), layers.len());
            // Every activation has a norm next to it; shortcuts have one that is not seen.
            let seen = watch.into_seen().into_iter().map(|seen| seen.values.dims()[2]);
            let own = layers.iter().filter(|layer| !layer.name.contains("downsample"));
            assert_eq!(own.map(|layer| layer.positions).collect::<Vec<_>>(), seen.collect::<Vec<_>>());
        }
    }
}

#[test]
fn variants_that_a_layer_cannot_have_are_refused_by_its_name() {
    let of = |network, variant: &str| {
        let norm = Some(Norm { variant: variant.parse().unwrap(), ..Norm::default() });
        Architecture { norm, ..Architecture::new(network, MNIST, 10) }
    };
    let cases = [
        (
            Network::Vgg,
            "group:7",
            "`features.0.bn` has 8 channels, found 7 groups; the numbers that do are 1, 2, 4, 8",
        ),
        (Network::Vgg, "group:16", "`features.0.bn` has 8 channels, found 16 groups"),
        (
            Network::Lenet,
            "group:3",
            "`features.1.bn` has 16 channels, found 3 groups; the numbers that do are 1, 2",
        ),
        (Network::Mlp, "group:100", "`group:100` would normalize every value of `hidden.0.bn` alone"),
        (Network::Mlp, "instance", "`hidden.0.bn` alone"),
        (Network::Vgg, "instance", "`hidden.bn` alone"),
        (Network::Lenet, "instance", "resnet20, inception"),
        (Network::Mlp, "ghost:1", "ghost batches of 2 images or more"),
    ];
    for (network, variant, words) in cases {
        let error = of(network, variant).validate().unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    for (network, variant) in [
        (Network::Resnet20, "instance"),
        (Network::Inception, "instance"),
        (Network::Resnet20, "ghost:1"),
        (Network::Mlp, "group:50"),
        (Network::Mlp, "layer"),
        (Network::Lenet, "ghost:7"),
    ] {
        assert_eq!(of(network, variant).validate(), Ok(()), "{network} {variant}");
    }
    let tiny = Architecture { dims: [1, 1, 1], ..of(Network::Resnet20, "instance") };
    assert!(tiny.validate().unwrap_err().to_string().contains("`bn1` alone"));
}

#[test]
fn what_is_normalized_image_by_image_keeps_no_statistics() {
    let device = Device::flex().autodiff();
    for architecture in every_variant(MNIST) {
        let network = build(&architecture, 1, &device);
        let variant = architecture.norm.unwrap().variant;
        let kept = state(&network).iter().any(|tensor| tensor.name.contains("running"));
        assert_eq!(kept, variant.normalizes_by_batch(), "{architecture:?}");
        if kept {
            continue;
        }
        // An image gets the same logits alone, in company, and in training.
        let four = images(4, MNIST, &device);
        let logits = |network: &Model, images| {
            let logits = network.forward(images, &mut Watch::nothing()).unwrap();
            logits.narrow(0, 0, 1).into_data().try_into_vec::<f32>().unwrap()
        };
        let training = logits(&network, four.clone());
        let alone = logits(&network.valid(), four.inner().narrow(0, 0, 1));
        let off = training.iter().zip(&alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let largest = alone.iter().fold(0.0f32, |largest, logit| largest.max(logit.abs()));
        // Burn multiplies matrices of four rows and of one in other orders.
        assert!(off <= 1e-5 * largest, "{off} of {largest}: {architecture:?}");
    }
}

#[test]
fn an_architecture_survives_json() {
    for architecture in every_kind(MNIST).chain(every_variant(MNIST)) {
        let text = serde_json::to_string(&architecture).unwrap();
        assert_eq!(serde_json::from_str::<Architecture>(&text).unwrap(), architecture);
    }
    let text = serde_json::to_string(&small(Network::Vgg, DIGITS)).unwrap();
    assert!(text.contains(r#""network":"vgg""#), "{text}");
    // As files of old have it, which know batch normalization alone.
    assert!(text.contains(r#""norm":{"eps":0.00001,"momentum":0.1}"#), "{text}");
    assert!(!text.contains("skips"), "{text}");
    let skipping = Architecture { skips: true, ..small(Network::Mlp, DIGITS) };
    let text = serde_json::to_string(&skipping).unwrap();
    assert_eq!(serde_json::from_str::<Architecture>(&text).unwrap(), skipping);
}
