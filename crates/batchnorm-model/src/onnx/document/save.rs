//! Saving a changed model: first the files beside it, then the model itself, each whole or not at all.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::attribute::AttributeValue;
use super::encode::Encoder;
use super::graph::Graph;
use super::tensor::{External, Payload, Tensor};
use super::{Document, DocumentError, Result};
use crate::file;

/// New tensors shorter than this stay in the model even where others are beside it.
const SMALL: u64 = 1 << 10;
/// Where tensors begin in a file of their own: on a page, so that runtimes can map them.
const ALIGNMENT: u64 = 1 << 12;

impl Document {
    /// Writes the model with its changes to a file, which appears whole or not at all.
    ///
    /// Where the model keeps tensors in files beside it, new ones are put into another such file, named after `path`;
    /// in another folder than the model's, the files that are still needed are copied along. All of them are there
    /// before the model is.
    ///
    /// # Errors
    ///
    /// As [`write_to`](Self::write_to); and if a file cannot be written, or a different one of its name is in the way.
    pub fn save(&self, path: &Path) -> Result<()> {
        if !self.beside {
            return file::write_with(path, |out| self.write_to(out));
        }
        let locations = self.locations();
        self.copy_beside(path, &locations)?;
        let mut document = self.clone();
        document.put_beside(path, &locations)?;
        file::write_with(path, |out| document.write_to(out))
    }

    /// The files beside the model that hold tensors of it.
    pub(super) fn locations(&self) -> BTreeSet<String> {
        let mut locations = BTreeSet::new();
        let mut visit = |tensor: &Tensor| {
            if let Payload::External(external) = tensor.payload() {
                locations.insert(external.location.clone());
            }
        };
        each_tensor(self.graph(), &mut visit);
        for function in self.functions() {
            function.nodes().iter().for_each(|node| each_tensor_of(node.attributes(), &mut visit));
        }
        locations
    }

    /// Copies the files that hold tensors, where the model goes to another folder.
    fn copy_beside(&self, path: &Path, locations: &BTreeSet<String>) -> Result<()> {
        let Some(from) = self.storage.model().path().map(folder_of) else { return Ok(()) };
        let to = folder_of(path);
        let real = |folder: &Path| folder.canonicalize().ok();
        if real(&from) == real(&to) {
            return Ok(());
        }
        for location in locations {
            let probe = Tensor::ints(location, &[0], &[]);
            let external = External { location: location.clone(), offset: 0, length: None };
            let (source, span) = self.storage.external(&probe, &external)?;
            let target = to.join(location);
            if let Ok(mut there) = std::fs::File::open(&target) {
                let mut bytes = Vec::new();
                let same = there.metadata().is_ok_and(|there| there.len() == source.len())
                    && there.read_to_end(&mut bytes).is_ok()
                    && source.read(&span)? == bytes;
                if same {
                    continue;
                }
                return Err(DocumentError::External {
                    tensor: String::new(),
                    location: location.clone(),
                    found: format!("`{}` is another file of that name", target.display()),
                    way_out: "write the model to an empty folder",
                });
            }
            if let Some(parent) = target.parent() {
                let failed = |source| crate::FileError::Write { path: parent.to_owned(), source };
                std::fs::create_dir_all(parent).map_err(failed)?;
            }
            file::write_with(&target, |out| source.copy(&span, out))?;
        }
        Ok(())
    }

    /// Puts new tensors of any size into a file of their own.
    fn put_beside(&mut self, path: &Path, taken: &BTreeSet<String>) -> Result<()> {
        let (mut offset, mut moved) = (0_u64, Vec::new());
        for (index, tensor) in self.graph.1.initializers.iter().enumerate() {
            let bytes = tensor.elements()? * tensor.element().bytes().unwrap_or(0);
            if bytes >= SMALL && matches!(tensor.payload(), Payload::Made(_)) {
                moved.push((index, offset, bytes));
                offset = (offset + bytes).next_multiple_of(ALIGNMENT);
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        let folder = folder_of(path);
        let stem = path.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy());
        // A name that nothing has: what is there may be another model's.
        let location = (0_u32..)
            .map(
                |number| {
                    if number == 0 { format!("{stem}.data") } else { format!("{stem}.{}.data", number + 1) }
                },
            )
            .find(|name| !taken.contains(name) && std::fs::symlink_metadata(folder.join(name)).is_err())
            .unwrap_or_default();
        file::write_with(&folder.join(&location), |out| {
            let mut written = 0;
            for (index, offset, bytes) in &moved {
                let gap = vec![0; (offset - written) as usize];
                out.write_all(&gap).map_err(DocumentError::Output)?;
                let tensor = &self.graph.1.initializers[*index];
                if let Payload::Made(made) = tensor.payload() {
                    Encoder::new(&self.storage, out).numbers(tensor, &**made)?;
                }
                written = offset + bytes;
            }
            Ok::<(), DocumentError>(())
        })?;
        for (index, offset, bytes) in moved {
            let external = External { location: location.clone(), offset, length: Some(bytes) };
            let tensor = &mut self.graph.1.initializers[index];
            *tensor = tensor.clone().moved_to(Payload::External(external));
        }
        Ok(())
    }
}

/// The folder of a file. The parent of a bare name is the empty path, which no system call takes.
fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

fn each_tensor(graph: &Graph, visit: &mut dyn FnMut(&Tensor)) {
    graph.initializers.iter().for_each(&mut *visit);
    for node in &graph.nodes {
        each_tensor_of(node.attributes(), visit);
    }
}

fn each_tensor_of(attributes: &[super::Attribute], visit: &mut dyn FnMut(&Tensor)) {
    for attribute in attributes {
        match attribute.value() {
            AttributeValue::Tensor(tensor) => visit(tensor),
            AttributeValue::Graph(graph) => each_tensor(graph, visit),
            _ => {}
        }
    }
}
