//! Saving and loading: Burn's records, and safetensors under PyTorch's names.

use batchnorm::RunningVariance;
use batchnorm_burn::{BatchNorm, BatchNormConfig, pytorch};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use burn_store::{ModuleSnapshot, SafetensorsStore};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

mod noise;
use noise::noise;

fn input(rows: usize, salt: u64, device: &Device) -> Tensor<2> {
    noise([rows, 4], salt, (1.0, 2.0), DType::F32, device)
}

#[derive(Module, Debug)]
struct Network {
    linear: Linear,
    norm: BatchNorm,
}

impl Network {
    fn new(device: &Device) -> Self {
        Self { linear: LinearConfig::new(4, 3).init(device), norm: BatchNormConfig::new(3).init(device) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.norm.forward(self.linear.forward(x))
    }
}

fn trained(device: &Device) -> Network {
    let network = Network::new(device);
    for salt in 0..3 {
        network.forward(input(8, salt, device));
    }
    network
}

fn assert_same(a: &Network, b: &Network) {
    let x = input(5, 9, &Device::flex());
    let (a_y, b_y) = (a.valid().forward(x.clone()), b.valid().forward(x));
    a_y.to_data().assert_eq(&b_y.to_data(), true);
    assert_eq!(a.norm.running_statistics(), b.norm.running_statistics());
}

#[test]
fn a_burn_record_keeps_everything_to_the_bit() {
    let device = Device::flex().autodiff();
    let network = trained(&device);
    let bytes = network.clone().into_record().into_bytes().unwrap();
    let loaded = Network::new(&device).load_record(ModuleRecord::from_bytes(bytes).unwrap());
    assert_same(&network, &loaded);
    assert_eq!(loaded.norm.num_batches_tracked(), 3);
    // Optimizers know parameters by their ids.
    assert_eq!(network.norm.gamma.as_ref().unwrap().id, loaded.norm.gamma.as_ref().unwrap().id);
    // The loaded layer trains on.
    loaded.forward(input(8, 9, &device));
    assert_eq!(loaded.norm.num_batches_tracked(), 4);
}

#[test]
fn a_record_is_never_an_update_late() {
    let device = Device::flex().autodiff();
    let layer = BatchNormConfig::new(1)
        .with_settings(batchnorm::BatchNormConfig::burn().with_momentum(batchnorm::Momentum::of_new(1.0)))
        .init(&device);
    layer.forward(Tensor::<2>::from_data([[2.0], [4.0]], &device));
    let record = layer.clone().into_record();
    let loaded = BatchNormConfig::new(1).init(&device).load_record(record);
    assert_eq!(loaded.running_mean().into_scalar::<f32>(), 3.0);
}

#[test]
fn a_record_of_the_stock_layer_loads_without_the_counter_it_lacks() {
    let device = Device::flex();
    let stock = burn::nn::BatchNormConfig::new(3).init(&device);
    let record = stock.into_record();
    let strict = BatchNormConfig::new(3).init(&device).try_load_record(record.clone());
    assert!(strict.unwrap_err().to_string().contains("num_batches_tracked"));
    BatchNormConfig::new(3).init(&device).try_load_record(record.allow_partial(true)).unwrap();
}

#[test]
fn a_layer_without_shift_or_statistics_records_what_it_has() {
    let device = Device::flex();
    let settings = batchnorm::BatchNormConfig::pytorch().with_shift(false).with_running_statistics(false);
    let layer = BatchNormConfig::new(3).with_settings(settings).init(&device);
    assert_eq!(layer.into_record().len(), 1);
}

#[test]
fn safetensors_hold_pytorchs_names_shapes_and_types() {
    let device = Device::flex().autodiff();
    let network = trained(&device);
    let mut store = SafetensorsStore::from_bytes(None).with_to_adapter(pytorch::to_pytorch());
    network.save_into(&mut store).unwrap();
    let bytes = store.get_bytes().unwrap();

    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "linear.bias",
            "linear.weight",
            "norm.bias",
            "norm.num_batches_tracked",
            "norm.running_mean",
            "norm.running_var",
            "norm.weight"
        ]
    );
    let counter = file.tensor("norm.num_batches_tracked").unwrap();
    // A scalar of i64, as PyTorch writes it.
    assert_eq!((counter.dtype(), counter.shape()), (Dtype::I64, &[][..]));
    assert_eq!(counter.data(), 3i64.to_le_bytes());
    let mean = file.tensor("norm.running_mean").unwrap();
    assert_eq!((mean.dtype(), mean.shape()), (Dtype::F32, &[3][..]));
    let expected: TensorData = network.norm.running_mean().into_data();
    assert_eq!(mean.data(), expected.as_bytes());

    let mut store = SafetensorsStore::from_bytes(Some(bytes)).with_from_adapter(pytorch::from_pytorch());
    let mut loaded = Network::new(&device);
    loaded.load_from(&mut store).unwrap();
    assert_same(&network, &loaded);
}

/// The bytes of a state dict as PyTorch writes it, with or without the counter that old files lack.
fn pytorch_file(counter: Option<i64>) -> Vec<u8> {
    let bytes = |values: [f32; 2]| values.map(f32::to_le_bytes).concat();
    let [weight, bias] = [bytes([2.0, 3.0]), bytes([0.5, -0.5])];
    let [mean, variance] = [bytes([1.0, -1.0]), bytes([4.0, 0.25])];
    let counter = counter.map(i64::to_le_bytes);
    let view = |data| TensorView::new(Dtype::F32, vec![2], data).unwrap();
    let mut tensors = vec![
        ("weight", view(&weight)),
        ("bias", view(&bias)),
        ("running_mean", view(&mean)),
        ("running_var", view(&variance)),
    ];
    if let Some(counter) = &counter {
        tensors.push(("num_batches_tracked", TensorView::new(Dtype::I64, vec![], counter).unwrap()));
    }
    safetensors::serialize(tensors, None).unwrap()
}

#[test]
fn a_file_from_pytorch_loads_with_its_counter() {
    let mut store =
        SafetensorsStore::from_bytes(Some(pytorch_file(Some(1234)))).with_from_adapter(pytorch::from_pytorch());
    let mut layer = BatchNormConfig::new(2).with_epsilon(0.0).init(&Device::flex());
    layer.load_from(&mut store).unwrap();
    assert_eq!(layer.num_batches_tracked(), 1234);
    assert_eq!(layer.settings().running_variance, RunningVariance::Unbiased);
    // 2 (3 - 1) / sqrt(4) + 0.5 and 3 (-2 + 1) / sqrt(0.25) - 0.5.
    let y = layer.forward(Tensor::<2>::from_data([[3.0f32, -2.0]], &Device::flex()));
    y.into_data().assert_eq(&TensorData::from([[2.5f32, -6.5]]), true);
}

#[test]
fn a_file_from_pytorch_loads_without_its_counter() {
    let mut store = SafetensorsStore::from_bytes(Some(pytorch_file(None)))
        .with_from_adapter(pytorch::from_pytorch())
        .allow_partial(true);
    let mut layer = BatchNormConfig::new(2).init(&Device::flex());
    let result = layer.load_from(&mut store).unwrap();
    assert_eq!(result.missing.len(), 1, "{result:?}");
    assert_eq!(layer.num_batches_tracked(), 0);
    layer.running_var().into_data().assert_eq(&TensorData::from([4.0f32, 0.25]), true);
}

#[test]
fn a_record_of_half_precision_loads_into_f32_statistics() {
    let device = Device::flex();
    let layer = BatchNormConfig::new(2).init(&device);
    struct Halve;
    impl burn::module::ModuleMapper for Halve {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<D>>,
        ) -> burn::module::Param<Tensor<D>> {
            param.map(|tensor| tensor.cast(FloatDType::F16))
        }
    }
    let layer = layer.map(&mut Halve);
    assert_eq!(layer.running_var().dtype(), DType::F32);
    let x = Tensor::<2>::from_data([[1.0f32, 2.0]], &device);
    layer.forward(x);
}
