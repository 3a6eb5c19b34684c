//! Models without layers.

use batchnorm_model::inspect::Absence;

use crate::models::Model;

fn absence(model: &Model) -> Absence {
    model.inspect().absence.unwrap()
}

#[test]
fn a_model_whose_exporter_folded_its_layers_is_told_as_such() {
    let model = Model::new(15).node("Conv", "a", &["x", "w", "b"], &["h"], &[]).node(
        "Conv",
        "b",
        &["h", "w"],
        &["y"],
        &[],
    );
    let absence = absence(&model);
    assert!(absence.folded());
    assert!(absence.to_string().starts_with("no batch-norm layers: the exporter folded them"), "{absence}");
    assert!(absence.to_string().contains("1 of 2 convolutions have a bias"), "{absence}");
    assert!(Model::healthy("bn", "x", "y").inspect().absence.is_none());
}

#[test]
fn a_model_that_had_none_is_told_as_such() {
    let conv = Model::new(15).node("Conv", "a", &["x", "w"], &["y"], &[]);
    assert!(absence(&conv).to_string().contains("none of 1 convolutions has a bias"));
    let none = Model::new(15).node("Relu", "a", &["x"], &["y"], &[]);
    assert!(absence(&none).to_string().contains("no convolutions either"));
    let other = conv.node("LayerNormalization", "ln", &["y", "g"], &["z"], &[]);
    assert!(absence(&other).to_string().contains("it normalizes by 1 LayerNormalization"));
    assert!(!absence(&other).folded());
}
