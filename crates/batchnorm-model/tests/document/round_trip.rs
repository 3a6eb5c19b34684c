//! Small models, with what an editor does not know.

use batchnorm_model::onnx::document::{Document, DocumentError, ElementType, Extent, Node, Tensor, ValueInfo};
use batchnorm_model::onnx::wire::{Reader, Writer};
use batchnorm_model::onnx::{Dim, Graph};

fn small() -> Vec<u8> {
    let mut graph = Graph::new("net");
    let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(2)]);
    let w = graph.tensor("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let h = graph.node("MatMul", "product", &[&x, &w], &[]);
    let y = graph.node("Relu", "relu", &[&h], &[]);
    graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(2)]);
    graph.metadata("note", "kept");
    graph.to_bytes().unwrap()
}

/// The same model with fields that nobody knows in the model and in its graph, and a length in more bytes than it takes.
fn with_unknown_fields() -> Vec<u8> {
    let mut model = Writer::new();
    model.text(60, "unknown, at the start");
    for field in Reader::new(&small()) {
        let field = field.unwrap();
        if field.number != 7 {
            model.raw(field.raw);
            continue;
        }
        let mut graph = field.bytes().unwrap().to_vec();
        let mut unknown = Writer::new();
        unknown.text(77, "unknown, in the graph");
        graph.extend(unknown.into_bytes());
        // Protobuf allows leading zeros: 0x80 0x00 behind the length's last seven bits.
        let mut raw = vec![7 << 3 | 2];
        let mut length = graph.len();
        for _ in 0..4 {
            raw.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        raw.push(0);
        raw.extend(graph);
        model.raw(&raw);
    }
    model.into_bytes()
}

#[test]
fn an_unchanged_model_is_the_same_bytes() {
    let bytes = with_unknown_fields();
    assert_eq!(Document::from_bytes(bytes.clone()).unwrap().to_bytes().unwrap(), bytes);
}

#[test]
fn what_nobody_knows_survives_a_change() {
    let mut document = Document::from_bytes(with_unknown_fields()).unwrap();
    document.graph_mut().node_mut(1).set_op("Tanh");
    let bytes = document.to_bytes().unwrap();
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(holds(b"unknown, at the start") && holds(b"unknown, in the graph") && holds(b"Tanh"));
    let again = Document::from_bytes(bytes).unwrap();
    assert_eq!(again.metadata(), [("note".to_owned(), "kept".to_owned())]);
}

#[test]
fn nodes_tensors_and_ports_are_added_and_removed_in_their_places() {
    let mut document = Document::from_bytes(small()).unwrap();
    let graph = document.graph_mut();
    graph.insert_after(Some(0), Node::new("Add", "bias", &["product", "b"], &["biased"]));
    graph.node_mut(2).set_input(0, "biased");
    let bias = std::sync::Arc::new(vec![0.5, 0.1]);
    graph.add_initializer(Tensor::made("b", &[2], ElementType::Float, bias));
    graph.add_input(ValueInfo::new(
        "more",
        ElementType::Float,
        Some(vec![Extent::Symbol("n".into()), Extent::Fixed(3)]),
    ));
    let again = Document::from_bytes(document.to_bytes().unwrap()).unwrap();
    let ops: Vec<&str> = again.graph().nodes().iter().map(Node::op).collect();
    assert_eq!(ops, ["MatMul", "Add", "Relu"]);
    assert_eq!(again.graph().nodes()[2].inputs(), ["biased"]);
    let b = again.graph().initializer("b").unwrap();
    // Rounded to the type once.
    assert_eq!(again.storage().values(b).unwrap(), [0.5, f64::from(0.1_f32)]);
    assert_eq!(again.storage().values(again.graph().initializer("w").unwrap()).unwrap(), [1.0, 2.0, 3.0, 4.0]);
    let more = again.graph().value("more").unwrap();
    assert_eq!(more.extents().unwrap(), [Extent::Symbol("n".into()), Extent::Fixed(3)]);

    let mut document = again;
    document.graph_mut().remove_node(1);
    document.graph_mut().remove_initializer("b");
    document.graph_mut().node_mut(1).set_inputs(vec!["product".to_owned()]);
    let last = Document::from_bytes(document.to_bytes().unwrap()).unwrap();
    assert_eq!((last.graph().nodes().len(), last.graph().initializers().len()), (2, 1));
}

#[test]
fn numbers_in_fields_of_their_own_are_read() {
    // dims [3], packed and unpacked, of several types.
    let tensor = |element: i64, write: &dyn Fn(&mut Writer)| {
        let mut model = Writer::new();
        model.int64(1, 8);
        model.message(7, |graph| {
            graph.message(5, |tensor| {
                tensor.int64(1, 3);
                tensor.int64(2, element);
                tensor.text(8, "t");
                write(tensor);
            });
        });
        let document = Document::from_bytes(model.into_bytes()).unwrap();
        document.storage().values(document.graph().initializer("t").unwrap()).unwrap()
    };
    assert_eq!(tensor(1, &|t| [1.5, -2.0, 3.0].iter().for_each(|&v| t.float(4, v))), [1.5, -2.0, 3.0]);
    let packed: Vec<u8> = [1.5_f32, -2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(tensor(1, &|t| t.bytes(4, &packed)), [1.5, -2.0, 3.0]);
    assert_eq!(tensor(11, &|t| [1.5, -2.0, 3.0].iter().for_each(|&v| t.double(10, v))), [1.5, -2.0, 3.0]);
    assert_eq!(tensor(7, &|t| [1, -2, 3].iter().for_each(|&v| t.int64(7, v))), [1.0, -2.0, 3.0]);
    // The bits of half types are integers.
    assert_eq!(tensor(10, &|t| [0x3c00, 0xc000, 0x4200].iter().for_each(|&v| t.int64(5, v))), [1.0, -2.0, 3.0]);
    assert_eq!(tensor(16, &|t| [0x3f80, 0xc000, 0x4040].iter().for_each(|&v| t.int64(5, v))), [1.0, -2.0, 3.0]);
    assert_eq!(tensor(3, &|t| [1, -2, 3].iter().for_each(|&v| t.int64(5, v))), [1.0, -2.0, 3.0]);
}

#[test]
fn what_is_no_model_is_told_as_such() {
    for (bytes, expected) in [
        (&b""[..], "no bytes at all"),
        (b"\x08\x08", "without a graph"),
        (b"PK\x03\x04", ""),
        (b"{\"a\": 1}", ""),
    ] {
        let error = Document::from_bytes(bytes.to_vec()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let bytes = small();
    for end in 0..bytes.len() {
        // A cut between two fields may leave a model.
        let _ = Document::from_bytes(bytes[..end].to_vec());
    }
}

#[test]
fn graphs_inside_graphs_end_somewhere() {
    // A node whose attribute is a graph with such a node, a thousand times.
    let mut graph = Vec::new();
    for _ in 0..1000 {
        let mut outer = Writer::new();
        outer.message(1, |node| {
            node.message(5, |attribute| attribute.bytes(6, &graph));
        });
        graph = outer.into_bytes();
    }
    let mut model = Writer::new();
    model.int64(1, 8);
    model.bytes(7, &graph);
    let error = Document::from_bytes(model.into_bytes()).unwrap_err();
    assert!(matches!(error, DocumentError::Nested { .. }), "{error}");
}
