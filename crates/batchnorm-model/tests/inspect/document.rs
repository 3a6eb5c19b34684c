//! The JSON document.

use batchnorm_model::inspect::Verdict;
use serde_json::{Value, json};

use crate::models::{Attribute, Model, statistics};

fn parsed(inspection: &batchnorm_model::inspect::Inspection) -> Value {
    serde_json::from_str(&inspection.to_json()).unwrap()
}

#[test]
fn the_document_has_the_fields_that_were_promised() {
    let verdict = |fold| Verdict {
        fold,
        into: fold.then(|| "conv".to_owned()),
        code: (!fold).then(|| "relu-between".to_owned()),
        reason: "words".to_owned(),
    };
    let model = Model::healthy("a", "x", "h")
        .parameters("b", &[1.0; 2], &[0.0; 2], &[0.5; 2], &[-1.0, 1.0])
        .layer("b", "h", &["y"], &[Attribute::Float("epsilon", 0.0625)]);
    let document = parsed(&model.inspect().with_verdicts(vec![verdict(true), verdict(false)]));
    assert_eq!((&document["schema"], &document["format"]), (&json!(1), &json!("onnx")));
    assert_eq!((&document["opset"], &document["ir_version"]), (&json!(15), &json!(8)));
    let [a, b] = &document["layers"].as_array().unwrap()[..] else { panic!("two layers") };
    assert_eq!((&a["name"], &a["channels"], &a["mode"]), (&json!("a"), &json!(2), &json!("inference")));
    // ONNX's default, which the node does not say.
    assert_eq!((&a["eps"], &a["eps_given"], &b["eps"]), (&json!(1e-5), &json!(false), &json!(0.0625)));
    assert_eq!((&a["findings"], &a["inside"], &a["batches"]), (&json!([]), &Value::Null, &Value::Null));
    assert_eq!(a["producer"], json!({"op": "input", "name": "x"}));
    assert_eq!(a["consumers"], json!([{"op": "BatchNormalization", "name": "b"}]));
    assert_eq!(a["ranges"]["mean"], json!([-1.0, 0.5]));
    assert_eq!(a["fold"], json!({"verdict": "fold", "into": "conv", "code": null, "reason": "words"}));
    assert_eq!(b["fold"]["verdict"], "refuse");
    assert_eq!(b["fold"]["code"], "relu-between");
    let finding = &b["findings"][0];
    assert_eq!(finding["code"], "negative-variance");
    assert_eq!((&finding["severity"], &finding["channels"]), (&json!("error"), &json!([0])));
    assert!(finding["message"].as_str().unwrap().contains("below 0"));
    let summary = &document["summary"];
    assert_eq!(
        (&summary["layers"], &summary["channels"], &summary["training"]),
        (&json!(2), &json!(4), &json!(0))
    );
    assert_eq!((&summary["errors"], &summary["warnings"]), (&json!(1), &json!(1)));
    assert_eq!(summary["codes"], json!({"negative-variance": 1, "suspicious-eps": 1}));
    assert_eq!((&summary["fold"], &summary["refuse"]), (&json!(1), &json!(1)));
    assert!(document.get("absence").is_none());
}

#[test]
fn a_number_that_is_none_is_null() {
    let document = parsed(&statistics(&[f32::INFINITY, 0.5], &[1.0; 2]).inspect());
    assert_eq!(document["layers"][0]["ranges"]["mean"], json!([0.5, null]));
    assert_eq!((&document["layers"][0]["fold"], &document["summary"]["fold"]), (&Value::Null, &Value::Null));
}

#[test]
fn without_layers_the_document_says_why() {
    let document = parsed(&Model::new(15).node("Conv", "a", &["x", "w", "b"], &["y"], &[]).inspect());
    assert_eq!(document["layers"], json!([]));
    assert_eq!((&document["absence"]["folded"], &document["absence"]["biased"]), (&json!(true), &json!(1)));
    assert!(document["absence"]["message"].as_str().unwrap().contains("exporter folded"));
}
