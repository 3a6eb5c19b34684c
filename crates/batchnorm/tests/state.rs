//! State in and out by other libraries' names.

use batchnorm::{BatchNorm, BatchNormConfig, Error, Names, Shape, StateValue};

type State = Vec<(&'static str, StateValue<f32>)>;

fn trained() -> BatchNorm<f32> {
    let mut layer = BatchNorm::<f32>::new(2, BatchNormConfig::pytorch()).unwrap();
    layer.gamma_mut().unwrap().copy_from_slice(&[2.0, -0.5]);
    layer.beta_mut().unwrap().copy_from_slice(&[0.25, 4.0]);
    let shape = Shape::new(3, 2, 1).unwrap();
    for _ in 0..3 {
        let _ = layer.forward_train(shape, &[1.0f32, 2.0, 3.0, 5.0, -6.0, 7.0], &mut [0.0; 6]).unwrap();
    }
    layer
}

#[test]
fn a_state_makes_the_same_layer_again_under_either_names() {
    for names in [Names::PyTorch, Names::Keras] {
        let layer = trained();
        let state = layer.state(names);
        let mut copy = BatchNorm::<f32>::new(2, BatchNormConfig::pytorch()).unwrap();
        copy.load_state(names, state.clone()).unwrap();
        assert_eq!(copy.gamma(), layer.gamma());
        assert_eq!(copy.beta(), layer.beta());
        assert_eq!(copy.running().unwrap().variance, layer.running().unwrap().variance);
        assert_eq!(copy.state(names), state);
    }
    assert_eq!(trained().state(Names::PyTorch)[4], ("num_batches_tracked", StateValue::Counter(3)));
    assert_eq!(trained().state(Names::Keras).len(), 4, "Keras counts no batches");
}

#[test]
fn a_layer_without_parts_has_a_state_without_them() {
    let config = BatchNormConfig::pytorch().with_scale(false).with_running_statistics(false);
    let layer = BatchNorm::<f32>::new(2, config).unwrap();
    assert_eq!(layer.state(Names::PyTorch), [("bias", StateValue::PerChannel(vec![0.0; 2]))]);
}

#[test]
fn a_missing_counter_is_zero_batches() {
    let mut state = trained().state(Names::PyTorch);
    state.retain(|(name, _)| *name != "num_batches_tracked");
    let mut layer = trained();
    layer.load_state(Names::PyTorch, state).unwrap();
    assert_eq!(layer.running().unwrap().batches, 0);
}

#[test]
fn a_wrong_state_is_refused_by_name_and_changes_nothing() {
    let edit = |edit: fn(&mut State)| {
        let mut state = trained().state(Names::PyTorch);
        edit(&mut state);
        let mut layer = BatchNorm::<f32>::new(2, BatchNormConfig::pytorch()).unwrap();
        let before = layer.state(Names::PyTorch);
        let error = layer.load_state(Names::PyTorch, state).unwrap_err();
        assert_eq!(layer.state(Names::PyTorch), before, "{error}");
        error
    };
    let error = edit(|state| drop(state.remove(2)));
    assert!(matches!(error, Error::MissingState { name: "running_mean", .. }), "{error}");
    let error = edit(|state| state[0].0 = "gamma");
    assert!(matches!(error, Error::UnexpectedState { .. }), "{error}");
    let error = edit(|state| state[3].1 = StateValue::PerChannel(vec![1.0, f32::INFINITY]));
    assert!(error.to_string().contains("running_var"), "{error}");
    assert!(error.to_string().contains("channel 1"), "{error}");
    let error = edit(|state| state[2].1 = StateValue::PerChannel(vec![f32::NAN, 0.0]));
    assert!(error.to_string().contains("running_mean"), "{error}");
    let error = edit(|state| state[1].1 = StateValue::PerChannel(vec![1.0; 3]));
    assert!(error.to_string().contains("3 values for 2 channels"), "{error}");
    let error = edit(|state| state[4].1 = StateValue::Counter(-1));
    assert!(error.to_string().contains("num_batches_tracked"), "{error}");
    let error = edit(|state| state[4].1 = StateValue::PerChannel(vec![1.0; 2]));
    assert!(error.to_string().contains("scalar counter"), "{error}");
    let error = edit(|state| state[0].1 = StateValue::Counter(1));
    assert!(error.to_string().contains("one value per channel"), "{error}");
}
