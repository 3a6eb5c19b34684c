//! What can be wrong with a checkpoint that is read.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use super::Dtype;
use crate::CheckpointError;

/// Why a checkpoint, or a tensor of it, cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The system does not let it be read.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It begins as no checkpoint does.
    #[error(
        "`{}` is no checkpoint: expected a safetensors file, its index (`*.safetensors.index.json`), or a file by \
         `torch.save`, found one that begins with {found}",
        .path.display()
    )]
    Unrecognised {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        found: String,
    },
    /// It begins as a safetensors file and is not a valid one.
    #[error("`{}` as a safetensors file", .path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: Box<CheckpointError>,
    },
    /// It begins as a file by `torch.save` and cannot be read as one.
    #[error(
        "`{}` as a file by `torch.save`; in Python, `safetensors.torch.save_file(model.state_dict(), ...)` writes one \
         that is read everywhere",
        .path.display()
    )]
    PyTorch {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The index of a sharded checkpoint is not one.
    #[error(
        "`{}`: expected an object whose `weight_map` names the file of each tensor; copy the index anew",
        .path.display()
    )]
    Index {
        /// The index.
        path: PathBuf,
        /// What was wrong.
        source: serde_json::Error,
    },
    /// The index names a shard outside its own folder.
    #[error(
        "`{}`: expected the shards as names of files beside the index, found `{shard}`; put the file there and correct \
         the index",
        .path.display()
    )]
    ShardName {
        /// The index.
        path: PathBuf,
        /// What it names.
        shard: String,
    },
    /// A shard cannot be opened.
    #[error("`{}`, which the index names for {tensors} tensors, cannot be read; copy all shards beside the index", .path.display())]
    Shard {
        /// The shard.
        path: PathBuf,
        /// How many tensors should be in it.
        tensors: usize,
        /// What the system said.
        source: io::Error,
    },
    /// A shard lacks a tensor that the index has in it.
    #[error("tensor `{tensor}` is not in `{}`, where the index has it; index and shards are of different checkpoints, \
             copy them anew", .path.display())]
    NotInShard {
        /// The tensor.
        tensor: String,
        /// The shard.
        path: PathBuf,
    },
    /// Two tensors have one name.
    #[error("`{}`: two tensors are named `{tensor}`; expected each name once, rename one", .path.display())]
    DuplicateName {
        /// The file.
        path: PathBuf,
        /// The name.
        tensor: String,
    },
    /// The part of a PyTorch checkpoint that was asked for is not there.
    #[error("`{}` has no dictionary of tensors under the key `{key}`; {found}", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key asked for.
        key: String,
        /// What there is.
        found: String,
    },
    /// No tensor has this name.
    #[error("there is no tensor `{tensor}` in `{}`; list the names there are", .path.display())]
    NoSuchTensor {
        /// The name.
        tensor: String,
        /// The file.
        path: PathBuf,
    },
    /// A tensor's elements are of a type that is not understood.
    #[error(
        "tensor `{tensor}` holds {dtype}, expected numbers of a type that is read (F64 to U8); convert it first"
    )]
    NotNumbers {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: Dtype,
    },
    /// A tensor that would take more memory than its file has bytes: one value, repeated.
    #[error(
        "tensor `{tensor}` would take {bytes} bytes, and its file has {file}: it repeats its values; save it with \
         `.contiguous()`, or leave it out"
    )]
    Expanded {
        /// The tensor.
        tensor: String,
        /// What it would take.
        bytes: u64,
        /// The length of the file.
        file: u64,
    },
    /// A tensor cannot be read.
    #[error("cannot read tensor `{tensor}` of `{}`", .path.display())]
    Tensor {
        /// The tensor.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
}
