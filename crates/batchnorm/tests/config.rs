//! What the configuration means, and what it refuses.

use batchnorm::{BatchNorm, BatchNormConfig, Error, Momentum, Policy, RunningVariance, Warning};

#[test]
fn the_default_is_pytorchs_convention() {
    assert_eq!(BatchNormConfig::default(), BatchNormConfig::pytorch());
}

/// The table of docs/semantics.md, line by line.
#[test]
fn presets_hold_each_librarys_convention() {
    use RunningVariance::{Biased, Unbiased};
    let table = [
        (BatchNormConfig::pytorch(), 1e-5, Momentum::of_new(0.1), Unbiased, Policy::Error),
        (BatchNormConfig::keras(), 1e-3, Momentum::of_old(0.99), Biased, Policy::Allow),
        (BatchNormConfig::flax(), 1e-5, Momentum::of_old(0.99), Biased, Policy::Allow),
        (BatchNormConfig::onnx(), 1e-5, Momentum::of_old(0.9), Biased, Policy::Allow),
        (BatchNormConfig::burn(), 1e-5, Momentum::of_new(0.1), Biased, Policy::Allow),
        (BatchNormConfig::paper(), 1e-5, Momentum::Cumulative, Unbiased, Policy::Error),
    ];
    for (config, eps, momentum, running_variance, one_value) in table {
        assert_eq!(config.eps, eps);
        assert_eq!(config.momentum, momentum);
        assert_eq!(config.running_variance, running_variance);
        assert_eq!(config.one_value, one_value);
        assert!(config.scale && config.shift && config.track_running_statistics);
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.warnings(), []);
    }
}

#[test]
fn eps_must_be_finite_and_not_negative() {
    for eps in [-1e-5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let config = BatchNormConfig::pytorch().with_eps(eps);
        assert!(matches!(config.validate(), Err(Error::InvalidEps { .. })), "{eps}");
        assert!(matches!(BatchNorm::<f32>::new(3, config), Err(Error::InvalidEps { .. })));
    }
    let zero = BatchNormConfig::pytorch().with_eps(0.0);
    assert_eq!(zero.validate(), Ok(()));
    assert_eq!(zero.warnings(), [Warning::EpsIsZero]);
}

#[test]
fn any_finite_momentum_is_allowed_and_odd_ones_warn() {
    for momentum in [Momentum::of_new(f64::NAN), Momentum::of_old(f64::INFINITY)] {
        let config = BatchNormConfig::pytorch().with_momentum(momentum);
        assert!(matches!(config.validate(), Err(Error::InvalidMomentum { .. })));
    }
    let warnings = |momentum| {
        let config = BatchNormConfig::pytorch().with_momentum(momentum);
        assert_eq!(config.validate(), Ok(()));
        config.warnings()
    };
    assert_eq!(warnings(Momentum::of_new(-1.2)), [Warning::MomentumOutsideUnitInterval { new: -1.2 }]);
    assert_eq!(warnings(Momentum::of_new(0.99)), [Warning::MomentumLooksInverted { new: 0.99 }]);
    assert_eq!(warnings(Momentum::of_old(0.25)), [Warning::MomentumLooksInverted { new: 0.75 }]);
    for fine in [Momentum::of_new(0.0), Momentum::of_new(1.0), Momentum::of_old(0.9), Momentum::Cumulative] {
        assert_eq!(warnings(fine), []);
    }
}

#[test]
fn every_message_says_the_way_out() {
    let config = BatchNormConfig::pytorch().with_eps(-1.0);
    let message = config.validate().unwrap_err().to_string();
    assert!(
        message.starts_with("eps must be a finite number >= 0, found -1; use a small positive one"),
        "{message}"
    );
}

#[cfg(feature = "serde")]
#[test]
fn a_configuration_survives_json() {
    for config in [BatchNormConfig::pytorch(), BatchNormConfig::keras(), BatchNormConfig::paper()] {
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<BatchNormConfig>(&json).unwrap(), config, "{json}");
    }
    // What is left out is PyTorch's; what is misspelt is an error.
    let partial: BatchNormConfig = serde_json::from_str(r#"{"momentum":{"of_old":0.99}}"#).unwrap();
    assert_eq!(partial, BatchNormConfig::pytorch().with_momentum(Momentum::of_old(0.99)));
    assert!(serde_json::from_str::<BatchNormConfig>(r#"{"epsilon":1e-3}"#).is_err());
}
