//! Loading the data that a command names.

use batchnorm_lab::data::{Access, Dataset, Source};

use crate::arguments::DataArguments;
use crate::progress::DataProgress;

/// Loads a data set, downloading it into the user's cache folder where that is allowed and needed.
pub fn load(source: &Source, arguments: &DataArguments, progress: bool) -> anyhow::Result<Dataset> {
    Ok(access(arguments, progress, |access| source.load(access))?)
}

/// Does something with access to the user's cache folder.
pub fn access<T>(arguments: &DataArguments, progress: bool, work: impl FnOnce(&mut Access<'_>) -> T) -> T {
    let cache = arguments.cache.clone().or_else(|| Some(dirs::cache_dir()?.join("batchnorm")));
    let mut progress = DataProgress::new(progress);
    let mut access = match &cache {
        Some(cache) if arguments.offline => Access::offline(cache),
        Some(cache) => Access::online(cache, &mut progress),
        None => Access::none(),
    };
    work(&mut access)
}
