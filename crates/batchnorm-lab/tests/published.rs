//! Published data sets in the cache: verified, downloaded, and what is said where neither can be.
//!
//! With the real files: `BATCHNORM_TEST_MNIST` names a folder that has MNIST in it.

mod files;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::{env, fs, thread};

use batchnorm_lab::data::{Access, DataError, Dataset, DownloadProgress, Source};
use files::{cifar_archive, cifar_file, idx_folder};
use tempfile::{TempDir, tempdir};

/// Real MNIST; the test is skipped, and says so, where there is none.
fn mnist() -> Option<PathBuf> {
    let path = env::var_os("BATCHNORM_TEST_MNIST").map(PathBuf::from);
    if path.is_none() {
        println!("skipped: BATCHNORM_TEST_MNIST names no folder with MNIST");
    }
    // Tests run in their crate's folder; a relative path is meant from the workspace.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    path.map(|path| if path.is_relative() { workspace.join(path) } else { path })
}

#[track_caller]
fn assert_is_mnist(data: &Dataset) {
    assert_eq!((data.train.len(), data.test.len()), (60_000, 10_000));
    assert_eq!((data.dims, data.classes, data.white), ([1, 28, 28], 10, 255.0));
    assert_eq!(data.train.labels()[..5], [5, 0, 4, 1, 9]);
    assert_eq!(data.test.labels()[..5], [7, 2, 1, 0, 4]);
    assert_eq!(data.about.title, "MNIST");
    // The published mean of the pixels that everybody subtracts, to the digits given.
    let sum: u64 = data.train.images().iter().map(|&pixel| u64::from(pixel)).sum();
    assert_eq!(format!("{:.4}", sum as f64 / (255.0 * data.train.images().len() as f64)), "0.1307");
}

/// A cache with files in the folder of a published set.
fn cache(set: &str, files: &[(&str, Vec<u8>)]) -> TempDir {
    let cache = tempdir().unwrap();
    fs::create_dir(cache.path().join(set)).unwrap();
    for (name, bytes) in files {
        fs::write(cache.path().join(set).join(name), bytes).unwrap();
    }
    cache
}

/// Serves the files of a folder until the test process ends; returns the base URL.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            answer(stream, &folder);
        }
    });
    url
}

fn answer(mut stream: TcpStream, folder: &Path) {
    let request: Vec<String> =
        BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let name = request[0].split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
    let (status, body) = match fs::read(folder.join(name)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

#[derive(Default)]
struct Rejected(Vec<String>);

impl DownloadProgress for Rejected {
    fn rejected(&mut self, file: &Path, cause: &str) {
        self.0.push(format!("{}: {cause}", file.display()));
    }
}

#[test]
fn without_the_network_the_error_says_how_to_supply_the_files_by_hand() {
    let cache = tempdir().unwrap();
    for (source, files, mirror) in [
        (
            Source::Mnist,
            &["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"][..],
            "cvdf-datasets/mnist/",
        ),
        (Source::FashionMnist, &["t10k-images-idx3-ubyte.gz"], "zalandoresearch/fashion-mnist/"),
        (Source::Cifar10, &["cifar-10-binary.tar.gz"], "https://www.cs.toronto.edu/~kriz/"),
    ] {
        let error = source.load(&mut Access::offline(cache.path())).unwrap_err();
        assert!(matches!(error, DataError::NotHere { .. }), "{error:?}");
        let message = error.to_string();
        let folder = cache.path().join(source.to_string());
        assert!(message.contains(&format!("put these files into `{}`", folder.display())), "{message}");
        assert!(message.contains(mirror), "{message}");
        assert!(files.iter().all(|file| message.contains(file)), "{message}");
        assert!(!folder.exists());

        let message = source.load(&mut Access::none()).unwrap_err().to_string();
        assert!(message.contains("name that folder as the data set"), "{message}");
    }
}

#[test]
fn without_a_server_the_error_says_why_and_how_to_supply_the_files_by_hand() {
    let cache = tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mirrors = [format!("http://{closed}/")];
    let mut progress = Rejected::default();
    let mut access = Access::online(cache.path(), &mut progress);
    access.mirrors = Some(&mirrors);
    let error = Source::Mnist.load(&mut access).unwrap_err();
    assert!(matches!(error, DataError::Download { .. }), "{error:?}");
    let message = error.to_string();
    let folder = cache.path().join("mnist");
    for words in ["refused", "train-images-idx3-ubyte.gz", &mirrors[0], &folder.display().to_string()] {
        assert!(message.contains(words), "`{words}` is not in: {message}");
    }
}

#[test]
fn files_in_the_cache_that_are_not_the_published_ones_are_refused() {
    let folder = idx_folder();
    let name = "train-images-idx3-ubyte";
    let cache = cache("mnist", &[(name, fs::read(folder.path().join(name)).unwrap())]);
    let message = Source::Mnist.load(&mut Access::offline(cache.path())).unwrap_err().to_string();
    for words in [name, "sha256 ba891046", "downloads are off", "put these files into"] {
        assert!(message.contains(words), "`{words}` is not in: {message}");
    }
    let cache =
        self::cache("cifar10", &[("cifar-10-binary.tar.gz", cifar_archive(|name| Some(cifar_file(name))))]);
    let message = Source::Cifar10.load(&mut Access::offline(cache.path())).unwrap_err().to_string();
    assert!(message.contains("sha256 c4a38c50"), "{message}");
}

#[test]
fn a_server_with_other_files_is_not_believed() {
    let (cache, served) = (tempdir().unwrap(), tempdir().unwrap());
    let file = served.path().join("train-images-idx3-ubyte.gz");
    fs::copy(idx_folder().path().join("train-images-idx3-ubyte"), file).unwrap();
    let mirrors = [serve(served.path().to_owned())];
    let mut progress = Rejected::default();
    let mut access = Access::online(cache.path(), &mut progress);
    access.mirrors = Some(&mirrors);
    let message = Source::Mnist.load(&mut access).unwrap_err().to_string();
    assert!(message.contains("sha256 ba891046"), "{message}");
    assert_eq!(progress.0.len(), 1);
    assert!(!cache.path().join("mnist/train-images-idx3-ubyte.gz").exists());
}

#[test]
fn a_folder_with_mnist_is_known_by_its_checksums() {
    let Some(mnist) = mnist() else { return };
    let data = Source::Folder(mnist).load(&mut Access::none()).unwrap();
    assert_is_mnist(&data);
    assert!(data.about.licence.contains("CC BY-SA"));
}

#[test]
fn mnist_is_downloaded_once_and_what_is_damaged_again() {
    let Some(mnist) = mnist() else { return };
    let cache = tempdir().unwrap();
    let mirrors = [serve(mnist)];
    let load = |offline: bool| {
        let mut progress = Rejected::default();
        let mut access = Access::online(cache.path(), &mut progress);
        access.offline = offline;
        access.mirrors = Some(&mirrors);
        let data = Source::Mnist.load(&mut access);
        (data, progress.0)
    };
    let (data, rejected) = load(false);
    assert_is_mnist(&data.unwrap());
    assert_eq!(rejected, Vec::<String>::new());
    assert_is_mnist(&load(true).0.unwrap());

    let labels = cache.path().join("mnist/t10k-labels-idx1-ubyte.gz");
    let mut bytes = fs::read(&labels).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 0x55;
    fs::write(&labels, &bytes).unwrap();
    let (data, rejected) = load(true);
    assert!(data.unwrap_err().to_string().contains("t10k-labels-idx1-ubyte.gz"));
    assert_eq!(rejected.len(), 1);
    let (data, rejected) = load(false);
    assert_is_mnist(&data.unwrap());
    assert!(rejected[0].contains("t10k-labels-idx1-ubyte.gz"), "{rejected:?}");
    assert_eq!(load(true).1, Vec::<String>::new());
}
