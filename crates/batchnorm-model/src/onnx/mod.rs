//! ONNX models: protobuf's wire format, and a builder of graphs on top of it.
//!
//! Nothing here is generated from `onnx.proto`: a generated reader drops the fields it does not know, and an editor
//! must keep every byte that it was not asked to change. [`wire`] therefore knows fields and not messages, and
//! [`Graph`] writes the messages that a network needs.

pub mod document;
pub mod layers;
mod ops;
pub mod wire;
mod write;

pub use ops::{Groups, Normalization, Window};
pub use write::{Attribute, Dim, Graph, Value};

/// Field numbers of `onnx.proto`, as far as they are written here.
pub(crate) mod fields {
    pub(crate) mod model {
        pub(crate) const IR_VERSION: u32 = 1;
        pub(crate) const PRODUCER_NAME: u32 = 2;
        pub(crate) const PRODUCER_VERSION: u32 = 3;
        pub(crate) const GRAPH: u32 = 7;
        pub(crate) const OPSET_IMPORT: u32 = 8;
        pub(crate) const FUNCTIONS: u32 = 25;
        pub(crate) const METADATA_PROPS: u32 = 14;
        pub(crate) const TRAINING_INFO: u32 = 20;
    }

    pub(crate) mod opset {
        pub(crate) const DOMAIN: u32 = 1;
        pub(crate) const VERSION: u32 = 2;
    }

    pub(crate) mod entry {
        pub(crate) const KEY: u32 = 1;
        pub(crate) const VALUE: u32 = 2;
    }

    pub(crate) mod graph {
        pub(crate) const NODE: u32 = 1;
        pub(crate) const NAME: u32 = 2;
        pub(crate) const INITIALIZER: u32 = 5;
        pub(crate) const INPUT: u32 = 11;
        pub(crate) const OUTPUT: u32 = 12;
        pub(crate) const VALUE_INFO: u32 = 13;
    }

    pub(crate) mod function {
        pub(crate) const NAME: u32 = 1;
        pub(crate) const INPUT: u32 = 4;
        pub(crate) const OUTPUT: u32 = 5;
        pub(crate) const NODE: u32 = 7;
        pub(crate) const DOMAIN: u32 = 10;
    }

    pub(crate) mod node {
        pub(crate) const INPUT: u32 = 1;
        pub(crate) const OUTPUT: u32 = 2;
        pub(crate) const NAME: u32 = 3;
        pub(crate) const OP_TYPE: u32 = 4;
        pub(crate) const ATTRIBUTE: u32 = 5;
        pub(crate) const DOMAIN: u32 = 7;
    }

    pub(crate) mod attribute {
        pub(crate) const NAME: u32 = 1;
        pub(crate) const FLOAT: u32 = 2;
        pub(crate) const INT: u32 = 3;
        pub(crate) const TEXT: u32 = 4;
        pub(crate) const TENSOR: u32 = 5;
        pub(crate) const GRAPH: u32 = 6;
        pub(crate) const FLOATS: u32 = 7;
        pub(crate) const INTS: u32 = 8;
        pub(crate) const TYPE: u32 = 20;
        pub(crate) const REFERENCE: u32 = 21;
    }

    pub(crate) mod tensor {
        pub(crate) const DIMS: u32 = 1;
        pub(crate) const DATA_TYPE: u32 = 2;
        pub(crate) const FLOAT_DATA: u32 = 4;
        pub(crate) const INT32_DATA: u32 = 5;
        pub(crate) const INT64_DATA: u32 = 7;
        pub(crate) const NAME: u32 = 8;
        pub(crate) const RAW_DATA: u32 = 9;
        pub(crate) const DOUBLE_DATA: u32 = 10;
        pub(crate) const UINT64_DATA: u32 = 11;
        pub(crate) const EXTERNAL_DATA: u32 = 13;
        pub(crate) const DATA_LOCATION: u32 = 14;
    }

    pub(crate) mod value_info {
        pub(crate) const NAME: u32 = 1;
        pub(crate) const TYPE: u32 = 2;
    }

    pub(crate) mod types {
        pub(crate) const TENSOR: u32 = 1;
        pub(crate) const ELEMENT: u32 = 1;
        pub(crate) const SHAPE: u32 = 2;
        pub(crate) const DIM: u32 = 1;
        pub(crate) const DIM_VALUE: u32 = 1;
        pub(crate) const DIM_SYMBOL: u32 = 2;
    }
}
