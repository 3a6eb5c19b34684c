//! A folder of results: what was computed, which claims were asked for and how, and the report.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::run::Carried;
use super::store::{Store, StoreError};
use super::{ALL, Claim, Facts, Request, named, pages};

/// The file that says which claims were asked for.
const ASKED: &str = "asked.json";

/// A folder of results.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    store: Store,
    asked: BTreeMap<String, Request>,
}

#[derive(Serialize, Deserialize)]
struct Asked {
    schema: u32,
    claims: BTreeMap<String, Request>,
}

impl Results {
    /// Opens a folder of results of these data to add to them, or begins it.
    ///
    /// # Errors
    ///
    /// If it holds results of another version or of other data, or cannot be read or written.
    pub fn open(path: &Path, facts: &Facts) -> Result<Self, StoreError> {
        if path.exists() && !path.is_dir() {
            return Err(StoreError::NotAFolder { path: path.to_owned() });
        }
        let store = Store::open(path, facts)?;
        Ok(Self { asked: asked(path)?, path: path.to_owned(), store })
    }

    /// Opens a folder of results to read them.
    ///
    /// # Errors
    ///
    /// If there are none in it, or of another version, or they cannot be read.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let store = Store::read(path)?;
        Ok(Self { asked: asked(path)?, path: path.to_owned(), store })
    }

    /// What was computed.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps in mind how claims were asked for; the last time counts.
    ///
    /// # Errors
    ///
    /// If that cannot be written.
    pub fn ask(&mut self, claims: &[&Claim], request: &Request) -> Result<(), StoreError> {
        self.asked.extend(claims.iter().map(|claim| (claim.name.to_owned(), request.clone())));
        let asked = Asked { schema: 1, claims: self.asked.clone() };
        let text = serde_json::to_string_pretty(&asked).expect("a list of claims has a JSON form") + "\n";
        self.write(ASKED, &text).map(|_| ())
    }

    /// What the results say of every claim that was asked for, without computing anything.
    ///
    /// # Errors
    ///
    /// If a claim's results cannot be read.
    pub fn carried(&self) -> Result<Carried, super::Halt> {
        let asked = ALL.iter().filter_map(|&claim| Some((claim, self.asked.get(claim.name)?)));
        super::read(&asked.collect::<Vec<_>>(), &self.store)
    }

    /// Writes the report: `claims.json`, `index.html`, a page for each claim, and the page on how it works. Returns the
    /// index's place.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn write_report(&self, carried: &Carried) -> Result<PathBuf, StoreError> {
        self.write("claims.json", &carried.document(self.store.facts()).to_json())?;
        for (index, judged) in carried.judged.iter().enumerate() {
            let neighbour = |place: Option<usize>| place.and_then(|place| carried.judged.get(place));
            let (before, after) = (neighbour(index.checked_sub(1)), neighbour(Some(index + 1)));
            let page = pages::claim_page(judged, self.store.facts(), before, after);
            self.write(&pages::file_name(judged.claim), &page)?;
        }
        self.write(pages::TEACHING, &pages::teaching_page())?;
        self.write("index.html", &pages::index_page(carried, self.store.facts()))
    }

    /// Where a claim's page is.
    pub fn page_of(&self, claim: &Claim) -> PathBuf {
        self.path.join(pages::file_name(claim))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, StoreError> {
        let path = self.path.join(name);
        batchnorm_model::file::write(&path, text.as_bytes()).map_err(|error| StoreError::Unwritable {
            path: path.clone(),
            source: std::io::Error::other(error),
        })?;
        Ok(path)
    }
}

fn asked(folder: &Path) -> Result<BTreeMap<String, Request>, StoreError> {
    let path = folder.join(ASKED);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text =
        fs::read_to_string(&path).map_err(|source| StoreError::Unreadable { path: path.clone(), source })?;
    let asked: Asked = serde_json::from_str(&text).map_err(|error| StoreError::Broken {
        path: path.clone(),
        line: error.line(),
        why: error.to_string(),
    })?;
    // A claim of another version is none of ours; its results stay where they are.
    Ok(asked.claims.into_iter().filter(|(name, _)| named(name).is_ok()).collect())
}
