//! Models read field by field, by the numbers of onnx.proto, which are typed here a second time.

use batchnorm::Momentum;
use batchnorm_model::onnx::wire::{Field, Reader};
use batchnorm_model::onnx::{Attribute, Dim, Graph, Normalization, Value};
use batchnorm_model::{FileError, GraphError};

use crate::run;

/// All fields of this number.
fn all<'a>(message: &Reader<'a>, number: u32) -> Vec<Field<'a>> {
    message.clone().map(Result::unwrap).filter(|field| field.number == number).collect()
}

#[track_caller]
fn one<'a>(message: &Reader<'a>, number: u32) -> Field<'a> {
    let mut fields = all(message, number);
    assert_eq!(fields.len(), 1, "field {number}");
    fields.remove(0)
}

fn inner<'a>(message: &Reader<'a>, number: u32) -> Reader<'a> {
    one(message, number).message().unwrap()
}

fn messages<'a>(message: &Reader<'a>, number: u32) -> Vec<Reader<'a>> {
    all(message, number).iter().map(|field| field.message().unwrap()).collect()
}

fn texts<'a>(message: &Reader<'a>, number: u32) -> Vec<&'a str> {
    all(message, number).iter().map(|field| field.text().unwrap()).collect()
}

fn int64s(message: &Reader<'_>, number: u32) -> Vec<i64> {
    let mut values = Vec::new();
    for field in all(message, number) {
        field.int64s(&mut values).unwrap();
    }
    values
}

/// Name, inputs and outputs of each node.
type Wiring<'a> = Vec<(&'a str, Vec<&'a str>, Vec<&'a str>)>;

fn wiring<'a>(graph: &Reader<'a>) -> Wiring<'a> {
    messages(graph, 1)
        .iter()
        .map(|node| (one(node, 3).text().unwrap(), texts(node, 1), texts(node, 2)))
        .collect()
}

/// An attribute in words.
fn attribute(attribute: &Reader<'_>) -> String {
    let name = one(attribute, 1).text().unwrap();
    match one(attribute, 20).int64().unwrap() {
        1 => format!("{name} = {:?} (float)", one(attribute, 2).float().unwrap()),
        2 => format!("{name} = {}", one(attribute, 3).int64().unwrap()),
        3 => format!("{name} = {:?}", one(attribute, 4).text().unwrap()),
        7 => format!("{name} = {:?}", int64s(attribute, 8)),
        other => panic!("attribute {name} of type {other}"),
    }
}

/// Each node's operator and attributes.
fn operators(graph: &Reader<'_>) -> Vec<(String, Vec<String>)> {
    let nodes = messages(graph, 1);
    nodes
        .iter()
        .map(|node| {
            let attributes = messages(node, 5).iter().map(attribute).collect();
            (one(node, 4).text().unwrap().to_owned(), attributes)
        })
        .collect()
}

/// Name, element type and dimensions of an input or output.
fn port(port: &Reader<'_>) -> String {
    let tensor = inner(&inner(port, 2), 1);
    let dims: Vec<String> = messages(&inner(&tensor, 2), 1)
        .iter()
        .map(|dim| match all(dim, 1).first() {
            Some(length) => length.int64().unwrap().to_string(),
            None => one(dim, 2).text().unwrap().to_owned(),
        })
        .collect();
    let element = one(&tensor, 1).int64().unwrap();
    format!("{}: type {element} [{}]", one(port, 1).text().unwrap(), dims.join(", "))
}

fn ports(graph: &Reader<'_>, number: u32) -> Vec<String> {
    messages(graph, number).iter().map(port).collect()
}

#[test]
fn a_model_says_what_it_is() {
    let (mut graph, _) = run::small();
    graph.metadata("architecture", "{\"größe\": 3}");
    graph.metadata("empty", "");
    let bytes = graph.to_bytes().unwrap();
    let model = Reader::new(&bytes);
    assert_eq!(one(&model, 1).int64(), Ok(8));
    assert_eq!(one(&model, 2).text(), Ok("batchnorm"));
    assert_eq!(one(&model, 3).text(), Ok(env!("CARGO_PKG_VERSION")));
    let opset = inner(&model, 8);
    assert_eq!((one(&opset, 1).text(), one(&opset, 2).int64()), (Ok(""), Ok(17)));
    let metadata: Vec<_> = messages(&model, 14)
        .iter()
        .map(|entry| (one(entry, 1).text().unwrap(), one(entry, 2).text().unwrap()))
        .collect();
    assert_eq!(metadata, [("architecture", "{\"größe\": 3}"), ("empty", "")]);
    assert_eq!(one(&inner(&model, 7), 2).text(), Ok("small"));
}

#[test]
fn inputs_and_outputs_have_types_and_a_free_batch() {
    let (graph, _) = run::small();
    let bytes = graph.to_bytes().unwrap();
    let graph = inner(&Reader::new(&bytes), 7);
    // No stored tensor among the inputs: the caller could override it.
    assert_eq!(ports(&graph, 11), ["x: type 1 [batch, 4, 6, 5]"]);
    assert_eq!(ports(&graph, 12), ["logits: type 1 [batch, 3]"]);
}

#[test]
fn nodes_have_names_and_are_wired_to_the_output_s_name() {
    let (graph, _) = run::small();
    let bytes = graph.to_bytes().unwrap();
    let graph = inner(&Reader::new(&bytes), 7);
    assert_eq!(
        wiring(&graph),
        [
            ("conv", vec!["x", "conv.weight"], vec!["conv"]),
            ("bn", vec!["conv", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"], vec!["bn"]),
            ("relu", vec!["bn"], vec!["relu"]),
            ("flatten", vec!["relu"], vec!["flatten"]),
            ("fc", vec!["flatten", "fc.weight", "fc.bias"], vec!["logits"]),
        ]
    );
}

#[test]
fn operators_have_the_attributes_of_their_definition() {
    let (graph, _) = run::small();
    let bytes = graph.to_bytes().unwrap();
    let found = operators(&inner(&Reader::new(&bytes), 7));
    let expected: [(&str, &[&str]); 5] = [
        ("Conv", &["kernel_shape = [3, 2]", "strides = [2, 1]", "pads = [1, 0, 1, 1]", "group = 1"]),
        // The new batch weighs 0.1, so the old value 0.9, which is what ONNX calls momentum.
        ("BatchNormalization", &["epsilon = 0.001 (float)", "momentum = 0.9 (float)", "training_mode = 0"]),
        ("Relu", &[]),
        ("Flatten", &["axis = 1"]),
        ("Gemm", &["transB = 1"]),
    ];
    assert_eq!(found.len(), expected.len());
    for ((op, attributes), (expected_op, expected)) in found.iter().zip(expected) {
        assert_eq!((op.as_str(), &attributes[..]), (expected_op, &expected.map_owned()[..]));
    }
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for &[&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|&text| text.to_owned()).collect()
    }
}

#[test]
fn tensors_are_stored_as_raw_little_endian_data() {
    let mut graph = Graph::new("net");
    let w = graph.tensor("w", &[2, 1], &[1.0, -2.5]);
    let shape = graph.tensor_i64("shape", &[2], &[-1, 2]);
    let scalar = graph.tensor("scalar", &[], &[0.5]);
    graph.tensor("none", &[3, 0], &[]);
    let y = graph.node("Reshape", "reshape", &[&w, &shape], &[]);
    let y = graph.add("sum", &y, &scalar);
    graph.output("y", &y, &[Dim::Fixed(1), Dim::Fixed(2)]);
    let bytes = graph.to_bytes().unwrap();
    let tensors = messages(&inner(&Reader::new(&bytes), 7), 5);
    let found: Vec<_> = tensors
        .iter()
        .map(|tensor| {
            let name = one(tensor, 8).text().unwrap();
            (name, int64s(tensor, 1), one(tensor, 2).int64().unwrap(), one(tensor, 9).bytes().unwrap().to_vec())
        })
        .collect();
    assert_eq!(
        found,
        [
            ("w", vec![2, 1], 1, vec![0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]),
            ("shape", vec![2], 7, vec![255, 255, 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 0, 0, 0]),
            ("scalar", vec![], 1, vec![0, 0, 0, 0x3f]),
            ("none", vec![3, 0], 1, vec![]),
        ]
    );
}

#[test]
fn any_node_and_attribute_can_be_written() {
    let mut graph = Graph::new("net");
    let x = graph.input("x", &[Dim::Symbol("n"), Dim::Fixed(0)]);
    let attributes = [
        ("text", Attribute::Text("a".to_owned())),
        ("ints", Attribute::Ints(vec![-1, i64::MAX])),
        ("none", Attribute::Ints(vec![])),
        ("int", Attribute::Int(i64::MIN)),
        ("float", Attribute::Float(0.1)),
    ];
    let y = graph.node("Anything", "y", &[&x, &x], &attributes);
    graph.output("y", &y, &[]);
    let bytes = graph.to_bytes().unwrap();
    let graph = inner(&Reader::new(&bytes), 7);
    assert_eq!(wiring(&graph), [("y", vec!["x", "x"], vec!["y"])]);
    let expected = [
        "text = \"a\"",
        "ints = [-1, 9223372036854775807]",
        "none = []",
        "int = -9223372036854775808",
        "float = 0.1 (float)",
    ];
    assert_eq!(operators(&graph), [("Anything".to_owned(), expected.map(str::to_owned).to_vec())]);
    assert_eq!(ports(&graph, 12), ["y: type 1 []"]);
}

/// The wiring of a graph with one node, `relu`, and these outputs.
fn with_outputs(outputs: &[(&str, &str)]) -> Result<Vec<String>, GraphError> {
    let mut graph = Graph::new("net");
    let x = graph.input("x", &[Dim::Fixed(1)]);
    let w = graph.tensor("w", &[1], &[1.0]);
    let relu = graph.relu("relu", &x);
    for (name, of) in outputs {
        let value = [&x, &w, &relu].into_iter().find(|value| value.name() == *of).unwrap();
        graph.output(name, value, &[Dim::Fixed(1)]);
    }
    let bytes = graph.to_bytes()?;
    let graph = inner(&Reader::new(&bytes), 7);
    let expected: Vec<&str> = outputs.iter().map(|(name, _)| *name).collect();
    let found = messages(&graph, 12);
    assert_eq!(found.iter().map(|port| one(port, 1).text().unwrap()).collect::<Vec<_>>(), expected);
    Ok(wiring(&graph).iter().map(|(_, inputs, outputs)| format!("{inputs:?} -> {outputs:?}")).collect())
}

#[test]
fn an_output_gets_its_name_without_a_copy_where_it_can() {
    let wired = |outputs: &[(&str, &str)]| with_outputs(outputs).unwrap();
    assert_eq!(wired(&[("y", "relu")]), ["[\"x\"] -> [\"y\"]"]);
    assert_eq!(wired(&[("relu", "relu")]), ["[\"x\"] -> [\"relu\"]"]);
    // What is two outputs at once, or no node's, is copied.
    let copied = ["[\"x\"] -> [\"relu\"]", "[\"relu\"] -> [\"y\"]"];
    assert_eq!(wired(&[("y", "relu"), ("relu", "relu")]), copied);
    assert_eq!(wired(&[("relu", "relu"), ("y", "relu")]), copied);
    assert_eq!(wired(&[("y", "relu"), ("z", "relu")]), ["[\"x\"] -> [\"y\"]", "[\"y\"] -> [\"z\"]"]);
    assert_eq!(wired(&[("y", "x")])[1], "[\"x\"] -> [\"y\"]");
    assert_eq!(wired(&[("y", "w")])[1], "[\"w\"] -> [\"y\"]");
    for outputs in [&[("y", "relu"), ("y", "x")], &[("relu", "relu"), ("relu", "relu")]] {
        assert!(matches!(with_outputs(outputs), Err(GraphError::DuplicateName { .. })));
    }
    assert!(matches!(with_outputs(&[("w", "relu")]), Err(GraphError::DuplicateName { .. })));
    assert_eq!(with_outputs(&[]), Err(GraphError::NoOutputs));
}

/// What a graph with one node and an output refuses after `build` has been at it.
fn refused(build: impl FnOnce(&mut Graph, &Value)) -> String {
    let mut graph = Graph::new("net");
    let x = graph.input("x", &[Dim::Fixed(2)]);
    build(&mut graph, &x);
    let y = graph.relu("relu", &x);
    graph.output("y", &y, &[Dim::Fixed(2)]);
    graph.to_bytes().unwrap_err().to_string()
}

#[test]
fn what_is_wrong_with_a_graph_is_said_by_name() {
    #[track_caller]
    fn says(expected: &str, build: impl FnOnce(&mut Graph, &Value)) {
        let found = refused(build);
        assert!(found.contains(expected), "{found}");
    }
    says("the name `x` is used twice", |graph, _| drop(graph.tensor("x", &[1], &[1.0])));
    says("the name `relu` is used twice", |graph, x| drop(graph.relu("relu", x)));
    says("a node has an empty name", |graph, x| drop(graph.relu("", x)));
    says("an input has an empty name", |graph, _| drop(graph.input("", &[])));
    says("tensor `w` of shape [2, 3] does not have the 5 values", |graph, _| {
        graph.tensor("w", &[2, 3], &[0.0; 5]);
    });
    says("tensor `w` of shape", |graph, _| drop(graph.tensor("w", &[usize::MAX, 3], &[])));
    says("the metadata has the key `a` twice", |graph, _| {
        graph.metadata("a", "1");
        graph.metadata("a", "2");
    });
    says("`late` uses the value `elsewhere`", |graph, _| {
        let elsewhere = Graph::new("other").input("elsewhere", &[]);
        graph.relu("late", &elsewhere);
    });
    says("`out` uses the value `elsewhere`", |graph, _| {
        let elsewhere = Graph::new("other").input("elsewhere", &[]);
        graph.output("out", &elsewhere, &[]);
    });
    says("Concat needs at least one", |graph, _| drop(graph.concat("joined", &[], 1)));
    says("`z` has the size 18446744073709551615", |graph, _| drop(graph.input("z", &[Dim::Fixed(usize::MAX)])));
}

#[test]
fn an_eps_that_f32_cannot_hold_is_refused() {
    let with = |eps: f64, momentum: Momentum| {
        let mut graph = Graph::new("net");
        let x = graph.input("x", &[Dim::Fixed(2)]);
        let layer = Normalization { gamma: &x, beta: &x, mean: &x, variance: &x, eps, momentum };
        let y = graph.batch_normalization("bn", &x, &layer);
        graph.output("y", &y, &[]);
        graph.to_bytes().map(|bytes| operators(&inner(&Reader::new(&bytes), 7)).remove(0).1)
    };
    for eps in [-1e-3, f64::NAN, f64::INFINITY, 1e300, 1e-60] {
        assert!(matches!(with(eps, Momentum::of_old(0.9)), Err(GraphError::InvalidEps { .. })), "{eps}");
    }
    assert_eq!(with(0.0, Momentum::of_old(0.75)).unwrap()[1], "momentum = 0.75 (float)");
    // The plain average has no constant weight to write.
    assert_eq!(with(0.0, Momentum::Cumulative).unwrap(), ["epsilon = 0.0 (float)", "training_mode = 0"]);
}

#[test]
fn a_model_is_written_whole_and_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let (graph, _) = run::small();
    graph.write(&path).unwrap();
    let (again, _) = run::small();
    assert_eq!(std::fs::read(&path).unwrap(), again.to_bytes().unwrap());
    let error = Graph::new("empty").write(&folder.path().join("none.onnx")).unwrap_err();
    assert!(matches!(error, FileError::Graph { .. }) && error.to_string().contains("none.onnx"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
