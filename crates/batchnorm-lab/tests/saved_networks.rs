//! Networks as tensors under PyTorch's names, and as ONNX models.

use std::collections::BTreeMap;

use batchnorm_lab::networks::{
    Activation, Architecture, Classifier, Model, Network, StateError, Watch, load_state, state, to_onnx,
};
use batchnorm_model::checkpoint::{NamedTensor, Values};
use burn::module::Module;
use burn::tensor::Device;
use tract_onnx::prelude::*;

mod fixtures;
use fixtures::{DIGITS, MNIST, build, every_kind, every_variant, images, noise, small};

/// The network with noise in all its tensors, and variances about 1.
fn random(architecture: &Architecture, device: &Device) -> Model {
    let network = build(architecture, 3, device);
    let mut tensors = state(&network);
    for (index, tensor) in tensors.iter_mut().enumerate() {
        let noise = noise(tensor.values.len(), 100 + index as u64);
        match &mut tensor.values {
            Values::F32(values) if tensor.name.ends_with("running_var") => {
                *values = noise.iter().map(|noise| (0.5 * noise).exp()).collect();
            }
            // Weights stay about their size.
            Values::F32(values) => {
                values.iter_mut().zip(noise).for_each(|(value, noise)| *value += 0.2 * noise)
            }
            Values::I64(values) => values[0] = 17 + index as i64,
            other => panic!("{other:?}"),
        }
    }
    load_state(network, &tensors).unwrap()
}

#[test]
fn a_state_survives_a_round_trip_to_the_bit() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        for architecture in every_kind(MNIST).chain(every_variant(MNIST)) {
            let network = random(&architecture, &device);
            let tensors = state(&network);
            let loaded = load_state(build(&architecture, 8, &device), &tensors).unwrap();
            assert_eq!(state(&loaded), tensors);
            let logits = |network: &Model| {
                let images = images(2, MNIST, &Device::flex());
                network.valid().forward(images, &mut Watch::nothing()).unwrap().into_data()
            };
            assert_eq!(logits(&loaded), logits(&network), "{architecture:?}");
            assert_ne!(logits(&loaded), logits(&build(&architecture, 8, &device)), "{architecture:?}");
        }
    }
}

#[test]
fn a_state_has_pytorchs_names_layouts_and_types() {
    let of = |network| state(&build(&small(network, MNIST), 1, &Device::flex()));
    let find = |tensors: &[NamedTensor], name: &str| {
        let tensor = tensors.iter().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("{name}"));
        (tensor.shape.clone(), tensor.values.dtype())
    };
    let mlp = of(Network::Mlp);
    assert_eq!(find(&mlp, "hidden.0.linear.weight"), (vec![12, 784], "F32"));
    assert_eq!(find(&mlp, "hidden.2.bn.running_var"), (vec![12], "F32"));
    assert_eq!(find(&mlp, "hidden.2.bn.num_batches_tracked"), (vec![], "I64"));
    assert_eq!(find(&mlp, "output.bias"), (vec![10], "F32"));
    let lenet = of(Network::Lenet);
    assert_eq!(find(&lenet, "features.1.conv.weight"), (vec![11, 4, 5, 5], "F32"));
    assert_eq!(find(&lenet, "hidden.0.linear.weight"), (vec![120, 11 * 5 * 5], "F32"));
    let vgg = of(Network::Vgg);
    assert_eq!(find(&vgg, "features.3.bn.weight"), (vec![8], "F32"));
    assert_eq!(find(&vgg, "hidden.linear.weight"), (vec![32, 8 * 7 * 7], "F32"));
    // torchvision's.
    let resnet = of(Network::Resnet20);
    assert_eq!(find(&resnet, "conv1.weight"), (vec![4, 1, 3, 3], "F32"));
    assert_eq!(find(&resnet, "bn1.bias"), (vec![4], "F32"));
    assert_eq!(find(&resnet, "layer2.0.downsample.0.weight"), (vec![8, 4, 1, 1], "F32"));
    assert_eq!(find(&resnet, "layer2.0.downsample.1.running_mean"), (vec![8], "F32"));
    assert_eq!(find(&resnet, "layer3.2.conv2.weight"), (vec![16, 16, 3, 3], "F32"));
    assert_eq!(find(&resnet, "fc.weight"), (vec![10, 16], "F32"));
    let inception = of(Network::Inception);
    assert_eq!(find(&inception, "conv1.conv.weight"), (vec![4, 1, 3, 3], "F32"));
    assert_eq!(find(&inception, "inception3a.branch3.1.conv.weight"), (vec![3, 2, 3, 3], "F32"));
    assert_eq!(find(&inception, "inception3a.branch4.1.bn.weight"), (vec![1], "F32"));
}

#[test]
fn tensors_of_another_network_are_refused_by_name() {
    let architecture = small(Network::Resnet20, DIGITS);
    let network = || build(&architecture, 1, &Device::flex());
    let whole = state(&network());
    let place = |name: &str| whole.iter().position(|tensor| tensor.name == name).unwrap();
    let refused = |tensors: &[NamedTensor], expected: StateError, words: &str| {
        let error = load_state(network(), tensors).unwrap_err();
        assert_eq!(error, expected);
        assert!(error.to_string().contains(words), "{error}");
    };

    let tensor = "layer1.0.bn1.running_mean".to_owned();
    let mut tensors = whole.clone();
    tensors.remove(place(&tensor));
    let missing = StateError::Missing { tensor, expected: vec![4] };
    refused(&tensors, missing, "expected a tensor `layer1.0.bn1.running_mean` of shape [4], found none");

    let mut tensors = whole.clone();
    tensors.push(NamedTensor::new("layer4.0.conv1.weight", [1], vec![0.0_f32]));
    let unexpected = StateError::Unexpected { tensor: "layer4.0.conv1.weight".to_owned(), found: vec![1] };
    refused(&tensors, unexpected, "expected no tensor `layer4.0.conv1.weight`, found one of shape [1]");

    let tensor = "conv1.weight".to_owned();
    let mut tensors = whole.clone();
    tensors[place(&tensor)].shape = vec![1, 4, 3, 3];
    let shape = StateError::Shape { tensor, expected: vec![4, 1, 3, 3], found: vec![1, 4, 3, 3] };
    refused(&tensors, shape, "expected tensor `conv1.weight` of shape [4, 1, 3, 3], found shape [1, 4, 3, 3]");

    let tensor = "bn1.weight".to_owned();
    let mut tensors = whole.clone();
    tensors[place(&tensor)].values = vec![1.0_f64; 4].into();
    refused(
        &tensors,
        StateError::Type { tensor, expected: "F32", found: "F64" },
        "of type F32, found type F64",
    );

    let tensor = "bn1.bias".to_owned();
    let mut tensors = whole.clone();
    tensors[place(&tensor)].values = vec![1.0_f32; 3].into();
    refused(&tensors, StateError::Length { tensor, expected: 4, found: 3 }, "4 values in tensor `bn1.bias`");

    let mut tensors = whole.clone();
    tensors.push(whole[0].clone());
    refused(&tensors, StateError::Twice { tensor: whole[0].name.clone() }, "found two");
}

/// What another program makes of an ONNX model.
fn logits_by_tract(model: &[u8], dims: [usize; 3], number: usize) -> Vec<f32> {
    let [channels, height, width] = dims;
    let shape = [number, channels, height, width];
    let model = tract_onnx::onnx()
        .model_for_read(&mut &model[..])
        .unwrap()
        .with_input_fact(0, f32::fact(shape).into())
        .unwrap()
        .into_optimized()
        .unwrap()
        .into_runnable()
        .unwrap();
    let pixels: Vec<f32> = images(number, dims, &Device::flex()).into_data().try_into_vec().unwrap();
    let x = Tensor::from_shape(&shape, &pixels).unwrap();
    let outputs = model.run(tvec!(x.into())).unwrap();
    assert_eq!(outputs[0].shape(), [number, 10]);
    outputs[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect()
}

/// Two programs, each with its own order of sums in f32, over some twenty layers.
fn agree(architecture: &Architecture, tolerance: f32) {
    let network = random(architecture, &Device::flex());
    let model = to_onnx(&network, architecture, &BTreeMap::new()).to_bytes().unwrap();
    for number in [1, 3] {
        let images = images(number, architecture.dims, &Device::flex());
        let own = network.forward(images, &mut Watch::nothing()).unwrap().into_data();
        let own: Vec<f32> = own.try_into_vec().unwrap();
        let theirs = logits_by_tract(&model, architecture.dims, number);
        let largest = own.iter().fold(0.0f32, |largest, logit| largest.max(logit.abs()));
        let off = own.iter().zip(&theirs).fold(0.0f32, |off, (a, b)| off.max((a - b).abs()));
        assert!(off <= tolerance * largest, "{off} of {largest}: {architecture:?}");
    }
}

#[test]
fn tract_gets_the_same_logits_from_onnx() {
    for dims in [MNIST, [3, 13, 17]] {
        for architecture in every_kind(dims) {
            for &activation in Activation::ALL {
                agree(&Architecture { activation, ..architecture.clone() }, 1e-5);
            }
        }
        for architecture in every_variant(dims) {
            agree(&architecture, 1e-5);
        }
    }
    let mlps = every_kind(DIGITS).filter(|architecture| architecture.network == Network::Mlp);
    for architecture in mlps {
        let layers = vec![64, 20, 20, 10, 10];
        let skipping = Architecture { skips: true, layers, ..architecture };
        agree(&skipping, 1e-5);
        let graph = to_onnx(&build(&skipping, 1, &Device::flex()), &skipping, &BTreeMap::new());
        let bytes = graph.to_bytes().unwrap();
        let sum = |layer: &str| bytes.windows(layer.len()).any(|window| window == layer.as_bytes());
        let sums = ["hidden.0", "hidden.1", "hidden.2", "hidden.3", "hidden.4"]
            .map(|layer| sum(&format!("{layer}.linear.sum")));
        assert_eq!(sums, [true, false, true, false, true]);
    }
}

#[test]
fn an_onnx_model_keeps_its_batch_norm_layers_and_notes() {
    let text =
        |bytes: &[u8], words: &str| bytes.windows(words.len()).filter(|w| *w == words.as_bytes()).count();
    for architecture in every_kind(MNIST) {
        let network = build(&architecture, 1, &Device::flex());
        let metadata = BTreeMap::from([("written for".to_owned(), "a test of notes".to_owned())]);
        let model = to_onnx(&network, &architecture, &metadata).to_bytes().unwrap();
        assert_eq!(text(&model, "BatchNormalization"), network.norms().len(), "{architecture:?}");
        assert_eq!(text(&model, "a test of notes"), 1);
        assert!(network.norms().iter().all(|(name, _)| text(&model, &format!("{name}.running_mean")) > 0));
    }
}

#[test]
fn an_onnx_model_has_the_operator_of_its_variant() {
    let text =
        |bytes: &[u8], words: &str| bytes.windows(words.len()).filter(|w| *w == words.as_bytes()).count();
    for architecture in every_variant(MNIST) {
        let network = build(&architecture, 1, &Device::flex());
        let model = to_onnx(&network, &architecture, &BTreeMap::new()).to_bytes().unwrap();
        let layers = network.norms().len();
        let by_batch = architecture.norm.unwrap().variant.normalizes_by_batch();
        let expected = if by_batch { [layers, 0] } else { [0, layers] };
        let found = ["BatchNormalization", "InstanceNormalization"].map(|operator| text(&model, operator));
        assert_eq!(found, expected, "{architecture:?}");
        assert_eq!(text(&model, "running_mean") > 0, by_batch, "{architecture:?}");
    }
}
